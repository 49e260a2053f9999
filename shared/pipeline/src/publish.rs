//! Push: blobs that pass through unchanged, configurations, and the manifests below the tag.

use accel_image::Descriptor;
use accel_registry::{End, RegistryError, Upload};
use bytes::BytesMut;

use crate::assemble::{Assembled, AssembledImage};
use crate::bodies::BODY_BYTES;
use crate::error::ConvertError;
use crate::source::Attestation;
use crate::watch::{Event, Observer, StopSignal};
use crate::{push, reuse};

/// Sees to it that the repository of `to` has a blob that `from` has: nothing, a mount, or a copy.
///
/// # Errors
/// Those of the two ends; [`ConvertError::Stopped`].
pub(crate) async fn provide_blob(
    from: &End,
    to: &End,
    blob: &Descriptor,
    watch: &dyn Observer,
    stop: &StopSignal,
) -> Result<(), ConvertError> {
    if reuse::has(to, blob).await? {
        return Ok(());
    }
    if from.same_registry(to) && to.mount(blob.digest, from.repository()).await? && reuse::has(to, blob).await? {
        return Ok(());
    }
    let mut upload = Some(to.start_upload().await?);
    let copied = stop.unless(copy(from, &mut upload, blob, watch)).await;
    match (copied, upload) {
        (Ok(()), Some(upload)) => Ok(upload.finish(blob.digest).await?),
        (copied, upload) => {
            push::cancel(upload).await;
            copied
        }
    }
}

async fn copy(
    from: &End,
    upload: &mut Option<Upload>,
    blob: &Descriptor,
    watch: &dyn Observer,
) -> Result<(), RegistryError> {
    let mut download = from.open_blob(blob, 0).await?;
    let mut body = BytesMut::new();
    let layer = blob.digest;
    while let (Some(upload), Some(piece)) = (upload.as_mut(), download.next().await?) {
        watch.event(&Event::LayerRead { layer, bytes: piece.len() as u64 });
        body.extend_from_slice(&piece);
        while body.len() >= BODY_BYTES {
            upload.write(body.split_to(BODY_BYTES).freeze()).await?;
            watch.event(&Event::LayerWritten { layer, bytes: BODY_BYTES as u64 });
        }
    }
    if let Some(upload) = upload.as_mut().filter(|_| !body.is_empty()) {
        let bytes = body.len() as u64;
        upload.write(body.freeze()).await?;
        watch.event(&Event::LayerWritten { layer, bytes });
    }
    Ok(())
}

/// Puts the configuration of an image.
///
/// # Errors
/// Those of the target's registry.
pub(crate) async fn config(to: &End, image: &AssembledImage) -> Result<(), ConvertError> {
    Ok(to.put_small_blob(&image.config.descriptor, image.config.bytes.clone()).await?)
}

/// Puts a manifest or an index under its digest. Says whether the registry lists it beside its subject by itself.
///
/// # Errors
/// Those of the target's registry.
pub(crate) async fn manifest(to: &End, document: &Assembled) -> Result<bool, ConvertError> {
    let key = document.descriptor.digest.to_string();
    let receipt = to.put_manifest(&key, &document.descriptor.media_type, document.bytes.clone()).await?;
    Ok(receipt.subject_acknowledged)
}

/// Copies an attestation and its blobs as they are.
///
/// # Errors
/// Those of the two ends; [`ConvertError::Stopped`].
pub(crate) async fn attestation(
    from: &End,
    to: &End,
    attestation: &Attestation,
    watch: &dyn Observer,
    stop: &StopSignal,
) -> Result<(), ConvertError> {
    for blob in std::iter::once(&attestation.manifest.config).chain(&attestation.manifest.layers) {
        provide_blob(from, to, blob, watch, stop).await?;
    }
    let raw = &attestation.raw;
    to.put_manifest(&raw.digest.to_string(), raw.document.media_type(), raw.bytes.clone()).await?;
    Ok(())
}
