//! Reuse: layers that were finished before, for this image or another one.

use accel_domain::{FormatOptions, Timestamp};
use accel_image::{Descriptor, Digest};
use accel_registry::End;
use accel_tasks::{LayerCache, LayerKey, LayerRecord};
use tracing::warn;

use crate::error::ConvertError;
use crate::watch::LayerEnd;

/// The key under which the result of `layer` is remembered for the registry and project of `target`.
pub(crate) fn key(target: &End, layer: Digest, options: &FormatOptions) -> LayerKey {
    let format = options.format();
    LayerKey {
        host: target.host().to_owned(),
        project: target.repository().split('/').next().unwrap_or_default().to_owned(),
        source: layer,
        format,
        version: format.version(),
        options: options.layer_hash(),
    }
}

/// The remembered result, if the target's repository has it or can get it without its bytes passing through here.
/// Records that cannot be read cost time, never the image.
///
/// # Errors
/// Those of the target's registry.
pub(crate) async fn find(
    cache: &impl LayerCache,
    key: &LayerKey,
    target: &End,
    now: Timestamp,
) -> Result<Option<(LayerRecord, LayerEnd)>, ConvertError> {
    let mut record = match cache.find_layer(key, now).await {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(None),
        Err(error) => {
            warn!(%error, "a layer record cannot be read; the layer is done again");
            forget(cache, key).await;
            return Ok(None);
        }
    };
    if has(target, &record.descriptor).await? {
        return Ok(Some((record, LayerEnd::Reused)));
    }
    let elsewhere = record.repository != target.repository();
    if elsewhere
        && target.mount(record.descriptor.digest, &record.repository).await?
        && has(target, &record.descriptor).await?
    {
        target.repository().clone_into(&mut record.repository);
        return Ok(Some((record, LayerEnd::Mounted)));
    }
    forget(cache, key).await;
    Ok(None)
}

/// Remembers a finished layer, if that is possible.
pub(crate) async fn remember(cache: &impl LayerCache, key: &LayerKey, record: &LayerRecord, now: Timestamp) {
    if let Err(error) = cache.remember_layer(key, record, now).await {
        warn!(%error, "a finished layer is not remembered; the next image does it again");
    }
}

/// Forgets a layer, if that is possible: a record that stays is found wrong again by the next look.
pub(crate) async fn forget(cache: &impl LayerCache, key: &LayerKey) {
    if let Err(error) = cache.forget_layer(key).await {
        warn!(%error, "a layer record that does not hold any more cannot be removed");
    }
}

/// Whether the repository has the blob, in its full size.
pub(crate) async fn has(target: &End, blob: &Descriptor) -> Result<bool, ConvertError> {
    Ok(target.has_blob(blob.digest).await? == Some(blob.size))
}
