//! The registry through its router, as a client sees it.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

mod auth;
mod blobs;
mod manifests;
mod pages;
mod server;
mod uploads;

use accel_registry_server::Registry;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and error code.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
        (self.status.as_u16(), code)
    }
}

/// Sends `"METHOD /path"` with headers and a body.
pub(crate) async fn send(registry: &Registry, call: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let (method, path) = call.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path).header("host", "registry.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = registry.router().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Sends without headers and body.
pub(crate) async fn call(registry: &Registry, call: &str) -> Answer {
    send(registry, call, &[], Body::empty()).await
}
