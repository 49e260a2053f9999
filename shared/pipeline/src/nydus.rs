//! What a Nydus image says of itself in manifest and configuration, as acceld writes it. Spec: nydus-snapshotter,
//! `pkg/converter`.

pub(crate) mod merged;

use accel_domain::NydusOptions;
use accel_driver_nydus::BOOTSTRAP;
use accel_image::{Annotations, Digest, Manifest, media_type};
use serde_json::{Value, json};

/// Annotation of a manifest: the digest of the manifest that it was made of.
const SOURCE_DIGEST: &str = "containerd.io/snapshot/nydus-source-digest";
/// Annotation of a manifest: the reference of the image that it was made of.
const SOURCE_REFERENCE: &str = "containerd.io/snapshot/nydus-source-reference";
/// Annotation of a manifest: what has made it.
const BUILDER_VERSION: &str = "containerd.io/snapshot/nydus-builder-version";

/// Annotations of the manifest of an image made of the manifest `digest`, which `reference` names.
pub(crate) fn annotations(options: &NydusOptions, version: &str, reference: &str, digest: Digest) -> Annotations {
    let pairs = [
        (SOURCE_DIGEST, digest.to_string()),
        (SOURCE_REFERENCE, reference.to_owned()),
        (accel_driver_nydus::FS_VERSION, options.fs_version.to_string()),
        (BUILDER_VERSION, format!("accel {version}")),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

/// Removes what [`annotations`] writes.
pub(crate) fn without_annotations(annotations: &mut Annotations) {
    for key in [SOURCE_DIGEST, SOURCE_REFERENCE, accel_driver_nydus::FS_VERSION, BUILDER_VERSION] {
        annotations.remove(key);
    }
}

/// Whether what [`annotations`] writes names the manifest `source`, where it is there.
pub(crate) fn is_made_of(annotations: &Annotations, source: Digest) -> bool {
    annotations.get(SOURCE_DIGEST).is_none_or(|said| *said == source.to_string())
}

/// Whether what [`annotations`] writes names the version of the file system that the bootstrap layer names, where both are
/// there.
pub(crate) fn has_its_version(manifest: &Manifest) -> bool {
    let said = |annotations: &Annotations| annotations.get(accel_driver_nydus::FS_VERSION).cloned();
    let of_layer = manifest.layers.last().and_then(|layer| said(&layer.annotations));
    said(&manifest.annotations).is_none_or(|said| of_layer.is_none_or(|of_layer| said == of_layer))
}

/// The history's entry for the bootstrap layer.
pub(crate) fn history() -> Value {
    json!({"created_by": "Nydus Converter", "comment": "Nydus Bootstrap Layer"})
}

/// Whether `manifest` is that of a Nydus image: its last layer is a bootstrap.
pub(crate) fn is_image(manifest: &Manifest) -> bool {
    manifest.layers.last().is_some_and(|layer| layer.annotations.contains_key(BOOTSTRAP))
        || manifest.layers.iter().any(|layer| layer.media_type == media_type::NYDUS_BLOB)
}
