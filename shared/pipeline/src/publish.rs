//! Push: blobs that pass through unchanged, configurations, and the manifests below the tag.

use accel_image::Descriptor;
use accel_registry::{End, RegistryError, Upload};
use bytes::{Bytes, BytesMut};

use crate::assemble::{Assembled, AssembledImage};
use crate::bodies::BODY_BYTES;
use crate::error::ConvertError;
use crate::source::Attestation;
use crate::watch::{Event, Observer, StopSignal};
use crate::{push, reuse};

/// Whether a registry is asked if it has a blob, or would not be believed: it has said so, and lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Asked,
    Doubted,
}

/// Sees to it that the repository of `to` has a blob that `from` has: nothing, a mount, or a copy.
///
/// # Errors
/// Those of the two ends; [`ConvertError::Stopped`].
pub(crate) async fn provide_blob(
    from: &End,
    to: &End,
    (blob, presence): (&Descriptor, Presence),
    watch: &dyn Observer,
    stop: &StopSignal,
) -> Result<(), ConvertError> {
    let is_there = || stop.unless(reuse::has(to, blob));
    let is_believed = presence == Presence::Asked;
    if is_believed && is_there().await? {
        return Ok(());
    }
    if mount(from, to, blob, stop).await? && (!is_believed || is_there().await?) {
        return Ok(());
    }
    copy_blob(from, to, blob, watch, stop).await
}

/// Whether the registry, if it is one, has mounted the blob. A registry that opens an upload instead has its answer heard, for
/// that upload to be cancelled.
async fn mount(from: &End, to: &End, blob: &Descriptor, stop: &StopSignal) -> Result<bool, ConvertError> {
    if !from.same_registry(to) {
        return Ok(false);
    }
    push::answered(to.mount(blob.digest, from.repository()), stop).await.map_err(|(error, _)| error)
}

async fn copy_blob(
    from: &End,
    to: &End,
    blob: &Descriptor,
    watch: &dyn Observer,
    stop: &StopSignal,
) -> Result<(), ConvertError> {
    let mut upload = push::open(to, stop).await?;
    let copied = stop.unless(copy(from, &mut upload, blob, watch)).await;
    push::close_if(copied, upload, blob.digest, stop).await
}

async fn copy(from: &End, upload: &mut Upload, blob: &Descriptor, watch: &dyn Observer) -> Result<(), RegistryError> {
    let mut download = from.open_blob(blob, 0).await?;
    let mut body = BytesMut::new();
    let layer = blob.digest;
    while let Some(piece) = download.next().await? {
        watch.event(&Event::LayerRead { layer, bytes: piece.len() as u64 });
        body.extend_from_slice(&piece);
        while body.len() >= BODY_BYTES {
            upload.write(body.split_to(BODY_BYTES).freeze()).await?;
            watch.event(&Event::LayerWritten { layer, bytes: BODY_BYTES as u64 });
        }
    }
    if !body.is_empty() {
        let bytes = body.len() as u64;
        upload.write(body.freeze()).await?;
        watch.event(&Event::LayerWritten { layer, bytes });
    }
    Ok(())
}

/// Sees to it that the repository has a blob that is in memory.
///
/// # Errors
/// Those of the target's registry; [`ConvertError::Stopped`].
pub(crate) async fn small_blob(
    to: &End,
    blob: &Descriptor,
    bytes: Bytes,
    stop: &StopSignal,
) -> Result<(), ConvertError> {
    if stop.unless(reuse::has(to, blob)).await? {
        return Ok(());
    }
    let mut upload = push::open(to, stop).await?;
    let sent = stop.unless(upload.write(bytes)).await;
    push::close_if(sent, upload, blob.digest, stop).await
}

/// Puts the configuration of an image.
///
/// # Errors
/// Those of the target's registry; [`ConvertError::Stopped`].
pub(crate) async fn config(to: &End, image: &AssembledImage, stop: &StopSignal) -> Result<(), ConvertError> {
    small_blob(to, &image.config.descriptor, image.config.bytes.clone(), stop).await
}

/// Puts a manifest or an index under its digest. Says whether the registry lists it beside its subject by itself.
///
/// # Errors
/// Those of the target's registry; [`ConvertError::Stopped`].
pub(crate) async fn manifest(to: &End, document: &Assembled, stop: &StopSignal) -> Result<bool, ConvertError> {
    let key = document.descriptor.digest.to_string();
    let putting = to.put_manifest(&key, &document.descriptor.media_type, document.bytes.clone());
    Ok(stop.unless(putting).await?.subject_acknowledged)
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
        provide_blob(from, to, (blob, Presence::Asked), watch, stop).await?;
    }
    let raw = &attestation.raw;
    let key = raw.digest.to_string();
    stop.unless(to.put_manifest(&key, raw.document.media_type(), raw.bytes.clone())).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use accel_registry::{HostSettings, NoCredentials, Registries};
    use accel_test_support::{Fault, FaultyRegistry, Request, Rule};

    use super::*;
    use crate::watch::{Stop, StopReason, Tally};

    #[tokio::test]
    async fn a_stop_ends_every_request_before_the_closing_one_and_leaves_no_upload_open() {
        use Request::{BlobGet, BlobHead, Mount, UploadPatch, UploadStart};
        let copied = [BlobHead, Mount, UploadStart, BlobGet, UploadPatch].map(|request| (request, false));
        let small = [BlobHead, UploadStart, UploadPatch].map(|request| (request, true));
        let rows =
            copied.into_iter().chain(small).flat_map(|row| [true, false].map(|answers| stopped_at(row, answers)));
        futures::future::join_all(rows).await;
    }

    /// Stops while `request` is under way, which the registry then answers or does not. The blob is copied, or in memory.
    async fn stopped_at((request, is_small): (Request, bool), answers: bool) {
        let registry = FaultyRegistry::start().await;
        let hosts = vec![HostSettings::plain_http(registry.host())];
        let registries = Registries::new(hosts, Arc::new(NoCredentials)).unwrap();
        let [from, to] = ["from", "to"].map(|repository| {
            let reference = format!("{}/{repository}/image:1", registry.host()).parse().unwrap();
            End::Registry(registries.repository(&reference).unwrap())
        });
        let blob = Descriptor::of("blob", b"its bytes");
        registry.content().put_blob("from/image", b"its bytes".to_vec());
        registry.rule(Rule::on(request, Fault::Held));
        registry.rule(Rule::on(Request::Mount, Fault::NoMount));
        let (stop, watch) = (Stop::new(), Tally::default());
        let signal = stop.signal();
        let stopping = async {
            let held = registry.held().await;
            stop.stop(StopReason::Shutdown);
            Some(held).filter(|_| !answers)
        };
        let providing = async {
            match is_small {
                true => small_blob(&to, &blob, Bytes::from_static(b"its bytes"), &signal).await,
                false => provide_blob(&from, &to, (&blob, Presence::Asked), &watch, &signal).await,
            }
        };
        let (provided, _held) = tokio::join!(providing, stopping);
        let what = format!("{request:?}, small: {is_small}, answered: {answers}");
        assert!(matches!(provided, Err(ConvertError::Stopped(StopReason::Shutdown))), "{what}: {provided:?}");
        assert_eq!(registry.content().uploads_open(), 0, "{what}");
    }
}
