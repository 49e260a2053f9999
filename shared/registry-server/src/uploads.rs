//! Uploads: start, chunks, status, the closing PUT, cancel; mounts. Spec: OCI distribution, "Pushing Blobs".

use std::sync::{Arc, Mutex};

use accel_image::Digest;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use uuid::Uuid;

use crate::blobs::CONTENT_DIGEST;
use crate::content::lock;
use crate::error::ApiError;
use crate::registry::{Query, Registry};
use crate::session::{Session, Writer};

/// How many uploads may be open at once.
const MAX_SESSIONS: usize = 10_000;

/// How much of a refused body is read, so that the client sees the answer and not a reset.
const DRAIN_BYTES: usize = 16 << 20;

/// Mounts a blob, takes one whole (`?digest=`), or opens a session.
pub(crate) async fn start(
    registry: &Registry,
    repository: &str,
    query: &Query,
    body: Body,
) -> Result<Response, ApiError> {
    if let (Some(mount), Some(from)) = (query.get("mount"), query.get("from")) {
        let digest = digest(mount)?;
        if registry.content().mount_blob(repository, from, digest) {
            return Ok(created(repository, digest));
        }
    }
    if registry.content().uploads_open() >= MAX_SESSIONS {
        return Err(ApiError::Full);
    }
    let id = registry.content().open_session(repository);
    if query.get("digest").is_none() {
        return Ok(progress(StatusCode::ACCEPTED, repository, id, 0));
    }
    let finished = finish(registry, repository, &id.to_string(), query, &HeaderMap::new(), body).await;
    if finished.is_err() {
        // The client was never told of the session, so nobody else can close it.
        discard(registry, id);
    }
    finished
}

/// How far a session is.
pub(crate) fn status(registry: &Registry, repository: &str, id: &str) -> Result<Response, ApiError> {
    let (id, session) = find(registry, repository, id)?;
    let offset = lock(&session).offset();
    Ok(progress(StatusCode::NO_CONTENT, repository, id, offset))
}

/// Appends a body. What arrived before the connection broke stays.
pub(crate) async fn patch(
    registry: &Registry,
    repository: &str,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (id, session) = receive(registry, repository, id, headers, body).await?;
    let offset = lock(&session).offset();
    Ok(progress(StatusCode::ACCEPTED, repository, id, offset))
}

/// Appends the last body, if there is one, and closes the session. Content with another digest is thrown away.
pub(crate) async fn finish(
    registry: &Registry,
    repository: &str,
    id: &str,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let expected = digest(query.get("digest").unwrap_or_default())?;
    let (id, _) = receive(registry, repository, id, headers, body).await?;
    let (actual, bytes) = registry.content().close_session(id).ok_or(ApiError::UploadUnknown)?;
    if actual != expected {
        registry.content().release(bytes.len());
        return Err(ApiError::DigestMismatch { expected, actual });
    }
    registry.content().keep_blob(repository, actual, bytes);
    Ok(created(repository, actual))
}

/// Ends a session without a blob.
pub(crate) fn cancel(registry: &Registry, repository: &str, id: &str) -> Result<Response, ApiError> {
    let (id, _) = find(registry, repository, id)?;
    discard(registry, id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn discard(registry: &Registry, id: Uuid) {
    if let Some((_, bytes)) = registry.content().close_session(id) {
        registry.content().release(bytes.len());
    }
}

/// Reads what is left of a body that nobody wants.
pub(crate) async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    let mut left = DRAIN_BYTES;
    while let Some(Ok(chunk)) = stream.next().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
    }
}

/// A digest from a path or a query.
pub(crate) fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|_| ApiError::DigestMalformed(text.chars().take(100).collect()))
}

fn find(registry: &Registry, repository: &str, id: &str) -> Result<(Uuid, Arc<Mutex<Session>>), ApiError> {
    let id: Uuid = id.parse().map_err(|_| ApiError::UploadUnknown)?;
    let session = registry.content().session(repository, id).ok_or(ApiError::UploadUnknown)?;
    Ok((id, session))
}

async fn receive(
    registry: &Registry,
    repository: &str,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Uuid, Arc<Mutex<Session>>), ApiError> {
    let begun = find(registry, repository, id)
        .and_then(|(id, session)| Ok((id, begin(&session, repository, id, headers)?, session)));
    match begun {
        Ok((id, writer, session)) => {
            append(registry, &session, writer, body).await?;
            Ok((id, session))
        }
        Err(refused) => {
            drain(body).await;
            Err(refused)
        }
    }
}

/// Takes the session over if the request goes on where the session is.
fn begin(session: &Mutex<Session>, repository: &str, id: Uuid, headers: &HeaderMap) -> Result<Writer, ApiError> {
    let mut session = lock(session);
    let offset = session.offset();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(range) = text(header::CONTENT_RANGE) {
        let (first, last) = content_range(range).ok_or_else(|| ApiError::UploadBroken(format!("`{range}`")))?;
        if first != offset {
            return Err(ApiError::UploadOffset { offset, location: location(repository, id) });
        }
        let length: Option<u64> = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        if length.is_some_and(|length| last.checked_sub(first).is_none_or(|span| span + 1 != length)) {
            return Err(ApiError::UploadBroken(format!("the body does not have the length of range {range}")));
        }
    }
    Ok(session.begin())
}

/// `first-last`, with the `bytes` and the size that HTTP knows and this specification does not.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let (first, last) = text.split('/').next()?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

async fn append(registry: &Registry, session: &Mutex<Session>, writer: Writer, body: Body) -> Result<(), ApiError> {
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::UploadBroken(error.to_string()))?;
        if !registry.content().admit(chunk.len()) {
            return Err(ApiError::Full);
        }
        if !lock(session).append(writer, &chunk) {
            registry.content().release(chunk.len());
            return Err(ApiError::UploadTaken);
        }
    }
    Ok(())
}

fn location(repository: &str, id: Uuid) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

/// The `Range` of an empty session is `0-0`, as other registries write it: the specification has no other form.
fn progress(status: StatusCode, repository: &str, id: Uuid, offset: u64) -> Response {
    let headers = [
        (header::LOCATION.as_str(), location(repository, id)),
        (header::RANGE.as_str(), format!("0-{}", offset.saturating_sub(1))),
        ("docker-upload-uuid", id.to_string()),
    ];
    (status, headers).into_response()
}

fn created(repository: &str, digest: Digest) -> Response {
    let headers =
        [(header::LOCATION.as_str(), format!("/v2/{repository}/blobs/{digest}")), (CONTENT_DIGEST, digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}
