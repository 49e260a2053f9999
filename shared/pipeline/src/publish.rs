//! Push: blobs that pass through unchanged, configurations, and the manifests below the tag.

use accel_image::Descriptor;
use accel_registry::{End, RegistryError};
use bytes::BytesMut;

use crate::assemble::{Assembled, AssembledImage};
use crate::bodies::BODY_BYTES;
use crate::error::ConvertError;
use crate::reuse;
use crate::source::Attestation;

/// Sees to it that the repository of `to` has a blob that `from` has: nothing, a mount, or a copy.
///
/// # Errors
/// Those of the two ends.
pub(crate) async fn provide_blob(from: &End, to: &End, blob: &Descriptor) -> Result<(), ConvertError> {
    if reuse::has(to, blob).await? {
        return Ok(());
    }
    if from.same_registry(to) && to.mount(blob.digest, from.repository()).await? {
        return Ok(());
    }
    Ok(copy(from, to, blob).await?)
}

async fn copy(from: &End, to: &End, blob: &Descriptor) -> Result<(), RegistryError> {
    let mut download = from.open_blob(blob, 0).await?;
    let mut upload = to.start_upload().await?;
    let mut body = BytesMut::new();
    while let Some(piece) = download.next().await? {
        body.extend_from_slice(&piece);
        while body.len() >= BODY_BYTES {
            upload.write(body.split_to(BODY_BYTES).freeze()).await?;
        }
    }
    if !body.is_empty() {
        upload.write(body.freeze()).await?;
    }
    upload.finish(blob.digest).await
}

/// Puts the configuration of an image, and its manifest by digest if an index will name it.
///
/// # Errors
/// Those of the target's registry.
pub(crate) async fn image(to: &End, image: &AssembledImage, by_digest: bool) -> Result<(), ConvertError> {
    to.put_small_blob(&image.config.descriptor, image.config.bytes.clone()).await?;
    if by_digest {
        manifest(to, &image.manifest).await?;
    }
    Ok(())
}

async fn manifest(to: &End, document: &Assembled) -> Result<(), ConvertError> {
    let key = document.descriptor.digest.to_string();
    to.put_manifest(&key, &document.descriptor.media_type, document.bytes.clone()).await?;
    Ok(())
}

/// Copies an attestation and its blobs as they are.
///
/// # Errors
/// Those of the two ends.
pub(crate) async fn attestation(from: &End, to: &End, attestation: &Attestation) -> Result<(), ConvertError> {
    for blob in std::iter::once(&attestation.manifest.config).chain(&attestation.manifest.layers) {
        provide_blob(from, to, blob).await?;
    }
    let raw = &attestation.raw;
    to.put_manifest(&raw.digest.to_string(), raw.document.media_type(), raw.bytes.clone()).await?;
    Ok(())
}
