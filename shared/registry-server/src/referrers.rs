//! The referrers API: which manifests have a given one as their subject. Spec: OCI distribution, "Listing Referrers".

use accel_image::{Descriptor, Digest, Document, Index, media_type};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::content::StoredManifest;
use crate::error::ApiError;
use crate::registry::{Query, Registry};
use crate::uploads::digest;

/// Answers with an index of referrers; an empty one where there are none, even in an unknown repository.
pub(crate) fn list(registry: &Registry, repository: &str, key: &str, query: &Query) -> Result<Response, ApiError> {
    let mut manifests = registry.content().referrers(repository, digest(key)?);
    let wanted = query.get("artifactType");
    if let Some(wanted) = wanted {
        manifests.retain(|found| found.other.get("artifactType").and_then(Value::as_str) == Some(wanted));
    }
    let index = Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests,
        subject: None,
        annotations: Default::default(),
        other: Map::new(),
    };
    let mut response = ([(header::CONTENT_TYPE, media_type::OCI_INDEX)], index.to_bytes()).into_response();
    if wanted.is_some() {
        let applied = header::HeaderValue::from_static("artifactType");
        response.headers_mut().insert("oci-filters-applied", applied);
    }
    Ok(response)
}

/// The entry that `stored` has in the list of `subject`'s referrers, if it refers to it.
pub(crate) fn descriptor(stored: &StoredManifest, subject: Digest) -> Option<Descriptor> {
    let document = Document::parse(&stored.bytes, Some(&stored.media_type)).ok()?;
    if self::subject(&document)? != subject {
        return None;
    }
    let mut descriptor = Descriptor::of(&stored.media_type, &stored.bytes);
    descriptor.annotations = document.annotations().clone();
    if let Some(kind) = artifact_type(&document) {
        descriptor.other.insert("artifactType".to_owned(), Value::from(kind));
    }
    Some(descriptor)
}

/// The digest of the manifest that `document` refers to.
pub(crate) fn subject(document: &Document) -> Option<Digest> {
    match document {
        Document::Manifest(manifest) => manifest.subject.as_ref(),
        Document::Index(index) => index.subject.as_ref(),
    }
    .map(|descriptor| descriptor.digest)
}

/// `artifactType`, or the configuration's media type where a manifest has none.
fn artifact_type(document: &Document) -> Option<&str> {
    match document {
        Document::Manifest(manifest) => {
            let named = manifest.other.get("artifactType").and_then(Value::as_str);
            Some(named.unwrap_or(&manifest.config.media_type))
        }
        Document::Index(index) => index.other.get("artifactType").and_then(Value::as_str),
    }
}
