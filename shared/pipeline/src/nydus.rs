//! What a Nydus image says of itself in manifest and configuration, as acceld writes it. Spec: nydus-snapshotter,
//! `pkg/converter`.

pub(crate) mod merged;

use accel_domain::{FormatOptions, NydusOptions};
use accel_driver_nydus::BOOTSTRAP;
use accel_image::{Annotations, Digest, Manifest, media_type};
use serde_json::{Value, json};

use crate::error::ConvertError;
use crate::image::Job;

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

/// Whether the target can be where `job` says: an image that refers to the layers of its source has to be beside it, unless
/// the plain image comes along with them.
///
/// # Errors
/// [`ConvertError::Unsupported`].
pub(crate) fn check_target(job: &Job) -> Result<(), ConvertError> {
    let FormatOptions::Nydus(options) = &job.output.options else { return Ok(()) };
    if !options.oci_ref || options.merge_manifest {
        return Ok(());
    }
    let what = if job.overwrites() {
        "takes the source's tag, and only the tag that the source is kept under would keep its layers, which"
    } else if job.source.same_repository(&job.target) {
        return Ok(());
    } else {
        "is in another repository than the source's layers, which"
    };
    let target = job.target.describe();
    Err(ConvertError::Unsupported(format!(
        "{target} {what} nodes read from the target's repository with `oci_ref`: give another tag beside the source, add \
         `merge_manifest`, which lists the layers, or leave `oci_ref` out"
    )))
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
