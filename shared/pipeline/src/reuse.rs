//! Reuse: layers that were finished before, for this image or another one.

use accel_domain::{FormatOptions, Timestamp};
use accel_image::{Descriptor, Digest};
use accel_registry::End;
use accel_tasks::{LayerCache, LayerKey, LayerRecord};

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
pub(crate) async fn find(
    cache: &impl LayerCache,
    key: &LayerKey,
    target: &End,
    now: Timestamp,
) -> Result<Option<(LayerRecord, LayerEnd)>, ConvertError> {
    let Some(mut record) = cache.find_layer(key, now).await? else { return Ok(None) };
    if has(target, &record.descriptor).await? {
        return Ok(Some((record, LayerEnd::Reused)));
    }
    let elsewhere = record.repository != target.repository();
    if elsewhere && target.mount(record.descriptor.digest, &record.repository).await? {
        target.repository().clone_into(&mut record.repository);
        return Ok(Some((record, LayerEnd::Mounted)));
    }
    cache.forget_layer(key).await?;
    Ok(None)
}

/// Whether the repository has the blob, in its full size.
pub(crate) async fn has(target: &End, blob: &Descriptor) -> Result<bool, ConvertError> {
    Ok(target.has_blob(blob.digest).await? == Some(blob.size))
}
