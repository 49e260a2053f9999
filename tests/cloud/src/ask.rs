//! Requests and answers.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method};
use serde_json::Value;

use crate::target::Key;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    method: Method,
    path: String,
    auth: Vec<String>,
    content_type: Option<String>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Ask {
    /// A request without a body.
    ///
    /// # Panics
    /// It is no method.
    #[must_use]
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        let method = method.parse().expect("tests name methods");
        Self { method, path: path.into(), auth: Vec::new(), content_type: None, body: Vec::new() }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// Something that is said to be an event in JSON.
    #[must_use]
    pub fn event(event: impl ToString) -> Self {
        Self::new("POST", "/api/v1/conversions").content_type("application/json").body(event.to_string())
    }

    /// The same with another query.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.path.push_str(query);
        self
    }

    /// The same with a secret in another `Authorization` header.
    #[must_use]
    pub fn auth(self, key: Key) -> Self {
        self.header(key.value())
    }

    /// The same with another `Authorization` header.
    #[must_use]
    pub fn header(mut self, value: &str) -> Self {
        self.auth.push(value.to_owned());
        self
    }

    /// The same with another `Content-Type`.
    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        Self { content_type: Some(value.to_owned()), ..self }
    }

    /// The same with another body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sends it.
    pub async fn send(self, client: &Client, base: &str) -> Answer {
        let Self { method, path, auth, content_type, body } = self;
        let url = format!("{base}{path}");
        let mut request = client.request(method, &url).timeout(PATIENCE);
        for value in auth {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(value) = content_type {
            request = request.header(CONTENT_TYPE, value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }
}

impl Answer {
    /// The body, which is JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether it is acceld's `"Ok"`.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == 200 && self.body == "\"Ok\"\n" && self.header("content-type") == Some("application/json")
    }

    /// Whether it is an error of the API.
    #[must_use]
    pub fn is_error(&self, status: u16, code: &str, message: &str) -> bool {
        let said: Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.status == status && said["code"] == code && said["message"].as_str().is_some_and(|m| m.contains(message))
    }

    /// A header that is there once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The ids of the tasks that it names.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.header("x-accel-task-id").into_iter().flat_map(|ids| ids.split(',')).map(str::to_owned).collect()
    }
}

/// A client that goes through no proxy and trusts nobody's certificate: everything here is plain HTTP on loopback.
#[must_use]
pub fn client() -> Client {
    // An error would say that there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}
