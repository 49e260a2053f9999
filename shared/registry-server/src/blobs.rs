//! Blobs by digest. Spec: OCI distribution, "Pulling blobs", "Deleting Blobs".

use accel_image::Digest;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use crate::error::ApiError;
use crate::range::Wanted;
use crate::registry::Registry;
use crate::uploads::digest;

/// The header that names what is in the body.
pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";

/// A blob, or the part that a `Range` header names.
pub(crate) fn get(registry: &Registry, repository: &str, key: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let (digest, bytes) = find(registry, repository, key)?;
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let size = bytes.len();
    match Wanted::parse(range, size) {
        Wanted::Whole => Ok(blob(digest, size, Body::from(bytes))),
        Wanted::Part(part) => {
            let content_range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            let mut response = blob(digest, part.len(), Body::from(bytes.slice(part)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            Ok(([(header::CONTENT_RANGE, content_range)], response).into_response())
        }
        Wanted::Unsatisfiable => Err(ApiError::RangeUnsatisfiable(size as u64)),
    }
}

/// The headers of [`get`].
pub(crate) fn head(registry: &Registry, repository: &str, key: &str) -> Result<Response, ApiError> {
    let (digest, bytes) = find(registry, repository, key)?;
    Ok(blob(digest, bytes.len(), Body::empty()))
}

/// Removes a blob from the repository, referenced or not: what refers to it breaks, as in other registries.
pub(crate) fn delete(registry: &Registry, repository: &str, key: &str) -> Result<Response, ApiError> {
    let digest = digest(key)?;
    if !registry.content().remove_blob(repository, digest) {
        return Err(ApiError::BlobUnknown(digest));
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

fn find(registry: &Registry, repository: &str, key: &str) -> Result<(Digest, Bytes), ApiError> {
    let digest = digest(key)?;
    let bytes = registry.content().blob(repository, digest).ok_or(ApiError::BlobUnknown(digest))?;
    Ok((digest, bytes))
}

fn blob(digest: Digest, size: usize, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH.as_str(), size.to_string()),
        (header::ACCEPT_RANGES.as_str(), "bytes".to_owned()),
        (header::ETAG.as_str(), format!("\"{digest}\"")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    (headers, body).into_response()
}
