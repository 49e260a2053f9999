//! Whether everything that a manifest names is there.

use accel_image::{Descriptor, Document, media_type};
use accel_registry_server::{Content, Target};
use axum::http::Uri;

/// The parts that a manifest put to `uri` names and its repository lacks.
pub(super) fn lacks(content: &Content, uri: &Uri, manifest: &[u8]) -> Vec<String> {
    let target = Target::parse(uri.path());
    let repository = target.as_ref().and_then(Target::repository);
    repository.map(|repository| parts_lacking(content, repository, manifest)).unwrap_or_default()
}

/// The parts that a manifest or an index names, down to the last blob, and `repository` lacks.
pub(super) fn parts_lacking(content: &Content, repository: &str, manifest: &[u8]) -> Vec<String> {
    match Document::parse(manifest, None) {
        Err(error) => vec![format!("a manifest that can be read: {error}")],
        Ok(Document::Manifest(manifest)) => {
            let layers = manifest.layers.iter().filter(|layer| !media_type::is_foreign_layer(&layer.media_type));
            let blobs = std::iter::once(&manifest.config).chain(layers);
            blobs.filter(|blob| !has(content, repository, blob)).map(|blob| blob.digest.to_string()).collect()
        }
        Ok(Document::Index(index)) => index
            .manifests
            .iter()
            .flat_map(|entry| match content.manifest(repository, &entry.digest.to_string()) {
                Some(stored) => parts_lacking(content, repository, &stored.bytes),
                None => vec![entry.digest.to_string()],
            })
            .collect(),
    }
}

fn has(content: &Content, repository: &str, blob: &Descriptor) -> bool {
    content.blob(repository, blob.digest).is_some_and(|bytes| bytes.len() as u64 == blob.size)
}
