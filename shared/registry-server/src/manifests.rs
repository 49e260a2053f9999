//! Manifests by tag and digest. Spec: OCI distribution, "Pulling manifests", "Pushing Manifests".

use accel_image::{Descriptor, Digest, Document, Manifest, is_tag, media_type};
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::blobs::CONTENT_DIGEST;
use crate::content::{Content, StoredManifest};
use crate::error::ApiError;
use crate::notice::{Action, Notice};
use crate::referrers;
use crate::registry::{MAX_MANIFEST_BYTES, Registry};
use crate::uploads::drain;

/// A manifest, or its headers only.
pub(crate) fn get(registry: &Registry, repository: &str, key: &str, with_body: bool) -> Result<Response, ApiError> {
    check_key(key)?;
    let unknown = || match registry.content().knows(repository) {
        true => ApiError::ManifestUnknown(key.to_owned()),
        false => ApiError::NameUnknown(repository.to_owned()),
    };
    let found = registry.content().manifest(repository, key).ok_or_else(unknown)?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), found.media_type),
        (header::CONTENT_LENGTH.as_str(), found.bytes.len().to_string()),
        (header::ETAG.as_str(), format!("\"{}\"", found.digest)),
        (CONTENT_DIGEST, found.digest.to_string()),
    ];
    let body = if with_body { Body::from(found.bytes) } else { Body::empty() };
    Ok((headers, body).into_response())
}

/// Takes a manifest whose parts are all in the repository.
pub(crate) async fn put(
    registry: &Registry,
    repository: &str,
    key: &str,
    headers: &HeaderMap,
    body: Body,
    operator: Option<String>,
) -> Result<Response, ApiError> {
    let bytes = read(body).await?;
    let named = check_key(key)?;
    let actual = Digest::of(&bytes);
    if let Some(expected) = named.filter(|named| *named != actual) {
        return Err(ApiError::DigestMismatch { expected, actual });
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let document = Document::parse(&bytes, content_type)?;
    check_parts(registry.content(), repository, &document)?;
    let digest = registry.content().put_manifest(repository, key, document.media_type(), bytes);
    registry.tell(Notice {
        action: Action::Push,
        repository: repository.to_owned(),
        tag: named.is_none().then(|| key.to_owned()),
        digest,
        media_type: document.media_type().to_owned(),
        operator,
    });
    Ok(created(repository, digest, &document))
}

/// Removes a tag, or by digest a manifest and its tags.
pub(crate) fn delete(
    registry: &Registry,
    repository: &str,
    key: &str,
    operator: Option<String>,
) -> Result<Response, ApiError> {
    let named = check_key(key)?;
    let removed = registry.content().remove_manifest(repository, key);
    let StoredManifest { media_type, digest, .. } = removed.ok_or_else(|| ApiError::ManifestUnknown(key.to_owned()))?;
    let tag = named.is_none().then(|| key.to_owned());
    let repository = repository.to_owned();
    registry.tell(Notice { action: Action::Delete, repository, tag, digest, media_type, operator });
    Ok(StatusCode::ACCEPTED.into_response())
}

/// The digest that `key` is, or `None` for a tag.
fn check_key(key: &str) -> Result<Option<Digest>, ApiError> {
    if key.contains(':') {
        return crate::uploads::digest(key).map(Some);
    }
    if is_tag(key) { Ok(None) } else { Err(ApiError::TagInvalid(key.chars().take(128).collect())) }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::UploadBroken(error.to_string()))?;
        if bytes.len() + chunk.len() > MAX_MANIFEST_BYTES {
            drain(Body::from_stream(stream)).await;
            return Err(ApiError::ManifestTooLarge(MAX_MANIFEST_BYTES));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn check_parts(content: &Content, repository: &str, document: &Document) -> Result<(), ApiError> {
    let missing: Vec<Digest> = match document {
        Document::Manifest(manifest) => {
            blobs(manifest).filter(|digest| !content.has_blob(repository, *digest)).collect()
        }
        Document::Index(index) => {
            let digests = index.manifests.iter().map(|entry| entry.digest);
            digests.filter(|digest| !content.has_manifest(repository, *digest)).collect()
        }
    };
    if missing.is_empty() { Ok(()) } else { Err(ApiError::ManifestBlobUnknown(missing)) }
}

/// The blobs that have to be there: layers that may not be distributed live elsewhere.
fn blobs(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    let foreign = |layer: &&Descriptor| !media_type::is_foreign_layer(&layer.media_type);
    std::iter::once(&manifest.config).chain(manifest.layers.iter().filter(foreign)).map(|part| part.digest)
}

fn created(repository: &str, digest: Digest, document: &Document) -> Response {
    let headers = [
        (header::LOCATION.as_str(), format!("/v2/{repository}/manifests/{digest}")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let response = (StatusCode::CREATED, headers).into_response();
    match referrers::subject(document) {
        Some(subject) => ([("oci-subject", subject.to_string())], response).into_response(),
        None => response,
    }
}
