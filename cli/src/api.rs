//! The client of Accel's HTTP API, for `accelctl task`.

mod address;
mod error;

use accel_domain::TaskId;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::https::{self, ANSWER_TIME, Answer};

pub(crate) use address::{Address, DEFAULT_ADDRESS, bare_url};
pub(crate) use error::ApiError;

const CONVERSIONS: &str = "api/v1/conversions";
const TASK_ID: &str = "x-accel-task-id";

/// The value of the `Authorization` header, and the variable that it comes from.
pub(crate) struct AuthHeader {
    /// The variable, for messages.
    pub(crate) variable: String,
    /// Its value, if it is set.
    pub(crate) value: Option<String>,
}

/// One server.
pub(crate) struct Api {
    client: Client,
    address: Address,
    variable: String,
    auth: Option<HeaderValue>,
}

/// What became of a request for a conversion.
pub(crate) struct Created {
    /// The tasks that stand for it; none if no rule matches.
    pub(crate) ids: Vec<TaskId>,
    /// How they ended, if that was waited for.
    pub(crate) end: End,
}

/// How a request for a conversion was answered.
pub(crate) enum End {
    /// The tasks were written, or have all completed if that was waited for.
    Done,
    /// One has failed, for this reason.
    Failed(String),
    /// The server waits no longer.
    Unfinished,
}

/// One page of the task list.
pub(crate) struct Page {
    pub(crate) rows: Vec<Value>,
    /// The query of the next page.
    pub(crate) next: Option<String>,
}

impl Api {
    /// A client of the server at `address`, which may be known by certificates of `ca_pem` beside the system's.
    pub(crate) fn new(address: Address, auth: AuthHeader, ca_pem: Option<&[u8]>) -> anyhow::Result<Self> {
        let value = auth.value.as_deref().map(HeaderValue::from_str).transpose();
        let mut value = value.map_err(|_| anyhow::anyhow!("{} holds what no header can hold", auth.variable))?;
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Ok(Self { client: https::client(&address, ca_pem)?, address, variable: auth.variable, auth: value })
    }

    /// Asks for a conversion as acceld's client does: with the event of a push. With `wait` until it has ended.
    pub(crate) async fn create(&self, source: &str, wait: bool) -> Result<Created, ApiError> {
        let event = json!({"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"resource_url": source}]}});
        let mut url = self.url("");
        url.set_query(wait.then_some("sync=true"));
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(event.to_string());
        let request = if wait { request } else { request.timeout(ANSWER_TIME) };
        let answer = self.send(request).await?;
        let ids = ids(&answer.headers);
        let end = match answer.status {
            StatusCode::ACCEPTED => End::Unfinished,
            status if status.is_success() => End::Done,
            _ => match self.refused(&answer) {
                ApiError::Refused { code, message, .. } if wait && code == "ERR_CONVERT_FAILED" => End::Failed(message),
                error => return Err(error),
            },
        };
        Ok(Created { ids, end })
    }

    /// A page of the task list; `query` as [`Page::next`] gave it, or made of `status`, `source` and `limit`.
    pub(crate) async fn list(&self, query: &str) -> Result<Page, ApiError> {
        let mut url = self.url("");
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let answer = self.ask(Method::GET, url).await?;
        let next = answer.headers.get(LINK).and_then(|link| next_query(link.to_str().ok()?));
        Ok(Page { rows: self.parse(&answer)?, next })
    }

    /// A task, as the server shows it.
    pub(crate) async fn get(&self, id: &TaskId) -> Result<Value, ApiError> {
        let answer = self.ask(Method::GET, self.url(&format!("/{id}"))).await?;
        self.parse(&answer)
    }

    /// Runs a task again, and gives it as it is now.
    pub(crate) async fn retry(&self, id: &TaskId) -> Result<Value, ApiError> {
        let answer = self.ask(Method::POST, self.url(&format!("/{id}/retry"))).await?;
        self.parse(&answer)
    }

    /// Stops a task, and gives it as it is now.
    pub(crate) async fn cancel(&self, id: &TaskId) -> Result<Value, ApiError> {
        let answer = self.ask(Method::DELETE, self.url(&format!("/{id}"))).await?;
        self.parse(&answer)
    }

    fn url(&self, rest: &str) -> Url {
        self.address.join(&format!("{CONVERSIONS}{rest}"))
    }

    async fn ask(&self, method: Method, url: Url) -> Result<Answer, ApiError> {
        let answer = self.send(self.client.request(method, url).timeout(ANSWER_TIME)).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refused(&answer)) }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, ApiError> {
        let request = match &self.auth {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        https::send(request).await.map_err(|none| ApiError::of_none(self.address.to_string(), none))
    }

    fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ApiError> {
        serde_json::from_slice(&answer.body)
            .map_err(|error| ApiError::NotAccel { at: self.address.to_string(), reason: error.to_string() })
    }

    fn refused(&self, answer: &Answer) -> ApiError {
        let (at, variable) = (self.address.to_string(), self.variable.clone());
        match answer.status {
            StatusCode::UNAUTHORIZED if self.auth.is_none() => ApiError::NoHeader { at, variable },
            StatusCode::UNAUTHORIZED => ApiError::WrongHeader { at, variable },
            status => ApiError::of_body(at, status.as_u16(), &answer.body),
        }
    }
}

/// The ids of the tasks that were made. What is no id is not ours.
fn ids(headers: &HeaderMap) -> Vec<TaskId> {
    let text = headers.get(TASK_ID).and_then(|ids| ids.to_str().ok()).unwrap_or_default();
    text.split(',').filter_map(|id| id.trim().parse().ok()).collect()
}

/// The query of the `next` link. Its path is not used: a front door may have put a prefix before ours.
fn next_query(link: &str) -> Option<String> {
    let next = link.split(", <").find(|part| part.contains("rel=\"next\""))?;
    let url = next.trim_start_matches('<').split_once('>')?.0;
    Some(url.split_once('?')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        let rows = [
            ("</api/v1/conversions?limit=2&cursor=a%2Cb>; rel=\"next\"", Some("limit=2&cursor=a%2Cb")),
            ("<https://h/p?x=1>; rel=\"prev\", </q?y=2>; rel=\"next\"", Some("y=2")),
            ("</api/v1/conversions?x>; rel=\"prev\"", None),
            ("</api/v1/conversions>; rel=\"next\"", None),
            ("", None),
        ];
        for (link, expected) in rows {
            assert_eq!(next_query(link).as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn takes_only_ids_for_ids() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        let headers = HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static(TASK_ID),
            HeaderValue::from_str(&format!("{id}, ../../x,{id}")).unwrap(),
        )]);
        assert_eq!(ids(&headers).len(), 2);
        assert!(ids(&HeaderMap::new()).is_empty());
    }
}
