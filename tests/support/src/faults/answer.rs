//! Answers that the registry did not give.

use accel_registry_server::MAX_MANIFEST_BYTES;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use serde_json::json;

/// An error envelope.
pub(super) fn refusal(status: u16, code: &str, words: &str, retry_after: Option<&str>) -> Response {
    let envelope = Json(json!({"errors": [{"code": code, "message": words, "detail": null}]}));
    let mut response = (status_of(status), envelope).into_response();
    if let Some(retry_after) = retry_after {
        set(&mut response, "retry-after", Some(retry_after));
    }
    response
}

pub(super) fn given(status: u16, headers: &[(String, String)], body: Bytes) -> Response {
    let mut response = (status_of(status), body).into_response();
    headers.iter().for_each(|(name, value)| set(&mut response, name, Some(value)));
    response
}

pub(super) fn html() -> Response {
    Html("<!DOCTYPE html><html><body>Please log in to the network.</body></html>").into_response()
}

pub(super) fn redirect(status: u16, to: &str, path: &str) -> Response {
    let mut response = status_of(status).into_response();
    set(&mut response, "location", Some(&to.replace("{path}", path)));
    response
}

/// How much of an upload was kept.
pub(super) fn kept(status: u16, progress: &Response) -> Response {
    let mut response = match status {
        ..400 => status_of(status).into_response(),
        _ => refusal(status, "BLOB_UPLOAD_INVALID", "as the test asked for", None),
    };
    for name in [header::RANGE, header::LOCATION] {
        if let Some(value) = progress.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Says something else in a header, or nothing.
pub(super) fn set(response: &mut Response, name: &str, value: Option<&str>) {
    let name: HeaderName = name.parse().expect("tests name headers that can be sent");
    response.headers_mut().remove(&name);
    if let Some(value) = value {
        let value = HeaderValue::from_str(value).expect("tests give values that can be sent");
        response.headers_mut().insert(name, value);
    }
}

/// Puts an origin before a relative Location, or in place of the one that is there.
pub(super) fn relocate(response: &mut Response, origin: &str) {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(path) = location.and_then(|location| location.find("/v2/").map(|start| location[start..].to_owned())) {
        set(response, "location", Some(&format!("{origin}{path}")));
    }
}

/// The same answer with another body, which keeps the Content-Length that was promised.
pub(super) async fn with_body(response: Response, body: impl FnOnce(Bytes) -> Body) -> Response {
    let (mut parts, old) = response.into_parts();
    let bytes = whole(old).await;
    if !parts.headers.contains_key(header::CONTENT_LENGTH) {
        parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    }
    Response::from_parts(parts, body(bytes))
}

/// The same answer with other bytes and their length.
pub(super) async fn with_bytes(response: Response, change: impl FnOnce(BytesMut) -> BytesMut) -> Response {
    let (mut parts, old) = response.into_parts();
    let bytes = change(BytesMut::from(whole(old).await)).freeze();
    parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    Response::from_parts(parts, Body::from(bytes))
}

/// Flips a bit in the middle.
pub(super) fn wrong(mut bytes: BytesMut) -> BytesMut {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes
}

/// Pads a document with spaces beyond the limit: it stays valid JSON.
pub(super) fn too_large(mut bytes: BytesMut) -> BytesMut {
    bytes.resize(MAX_MANIFEST_BYTES + 1, b' ');
    bytes
}

async fn whole(body: Body) -> Bytes {
    to_bytes(body, usize::MAX).await.expect("the registry's own bodies are in memory")
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("tests name statuses that can be sent")
}
