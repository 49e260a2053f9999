//! One layer: reused, kept, or downloaded, converted and uploaded at the same time.

use std::sync::Arc;

use accel_domain::{ErrorClass, Timestamp, marker};
use accel_driver::{Converted, Driver, DriverError};
use accel_image::{Descriptor, Digest, media_type};
use accel_registry::{End, RegistryError, Upload};
use accel_tasks::{LayerCache, LayerOutcome, LayerRecord};
use tracing::instrument;

use crate::engine::Engine;
use crate::error::ConvertError;
use crate::image::Job;
use crate::plan::PlannedLayer;
use crate::watch::{Event, LayerEnd, Observer, StopSignal};
use crate::{publish, pull, push, reuse};

/// How often a layer begins again because its upload was lost.
const UPLOADS_LOST: u32 = 2;

/// What became of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerReport {
    /// The source layer.
    pub source: Descriptor,
    /// The layer in the target.
    pub target: Descriptor,
    /// What the target's layer decompresses to.
    pub diff_id: Digest,
    /// How it was finished.
    pub end: LayerEnd,
    /// Why it was kept; empty otherwise.
    pub reason: String,
}

/// What the work on all layers of an image shares.
pub(crate) struct Layers<'a, C> {
    pub(crate) engine: &'a Engine,
    pub(crate) job: &'a Job,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) cache: &'a C,
    pub(crate) watch: &'a dyn Observer,
    pub(crate) stop: StopSignal,
    pub(crate) now: fn() -> Timestamp,
}

/// A conversion that came to its end: the blob is uploaded but for the closing request.
struct Written {
    converted: Converted,
    upload: Option<Upload>,
}

impl<C: LayerCache> Layers<'_, C> {
    /// Finishes a layer in whatever way costs least.
    ///
    /// # Errors
    /// Any that fail the image's attempt; layers that were finished stay remembered.
    #[instrument(skip_all, fields(layer.digest = %planned.descriptor.digest))]
    pub(crate) async fn finish(&self, planned: &PlannedLayer) -> Result<LayerReport, ConvertError> {
        let source = &planned.descriptor;
        let key = reuse::key(&self.job.target, source.digest, &self.job.output.options);
        if let Some((record, end)) = reuse::find(self.cache, &key, &self.job.target, (self.now)()).await? {
            return Ok(self.done(report(planned, record, end)));
        }
        let _open = self.engine.open_layers.acquire().await.map_err(|_| ConvertError::Panicked(source.digest))?;
        self.watch.event(&Event::LayerStarted { layer: source.digest, size: source.size });
        let record = match self.cannot_convert(source) {
            Some(reason) => self.keep(planned, reason).await?,
            None => match self.convert(planned).await {
                Err(ConvertError::Layer { source: error @ DriverError::Unrepresentable { .. }, .. }) => {
                    self.keep(planned, error.to_string()).await?
                }
                converted => converted?,
            },
        };
        self.cache.remember_layer(&key, &record, (self.now)()).await?;
        let end = match record.outcome {
            LayerOutcome::Converted => LayerEnd::Converted,
            LayerOutcome::Kept => LayerEnd::Kept,
        };
        Ok(self.done(report(planned, record, end)))
    }

    fn done(&self, report: LayerReport) -> LayerReport {
        self.watch.event(&Event::LayerDone { layer: report.source.digest, end: report.end, reason: &report.reason });
        report
    }

    /// Why the layer stays as it is, if that is known before it is read.
    fn cannot_convert(&self, layer: &Descriptor) -> Option<String> {
        if media_type::is_foreign_layer(&layer.media_type) {
            return Some("it may not be distributed".to_owned());
        }
        if media_type::is_encrypted_layer(&layer.media_type) {
            return Some("it is encrypted".to_owned());
        }
        let made = self.job.layer_mark();
        (layer.annotations.get(marker::LAYER) == Some(&made))
            .then(|| "it has this format and these options already".to_owned())
    }

    /// Sees to it that the target's repository has the source layer, and remembers it as kept.
    async fn keep(&self, planned: &PlannedLayer, reason: String) -> Result<LayerRecord, ConvertError> {
        let mut descriptor = planned.descriptor.clone();
        descriptor.media_type = media_type::to_oci(&descriptor.media_type).to_owned();
        if !media_type::is_foreign_layer(&descriptor.media_type) {
            publish::provide_blob(&self.job.source, &self.job.target, &planned.descriptor).await?;
        }
        let repository = self.job.target.repository().to_owned();
        Ok(LayerRecord { descriptor, diff_id: planned.diff_id, outcome: LayerOutcome::Kept, reason, repository })
    }

    /// Converts the layer; begins again where an upload was lost or the source's bytes were wrong once.
    async fn convert(&self, planned: &PlannedLayer) -> Result<LayerRecord, ConvertError> {
        let (mut lost, mut mismatched) = (0, false);
        loop {
            match self.convert_once(planned).await {
                Err(ConvertError::Registry(RegistryError::UploadLost { .. })) if lost < UPLOADS_LOST => lost += 1,
                Err(ConvertError::Registry(RegistryError::Mismatch { .. })) if !mismatched => mismatched = true,
                Err(ConvertError::Registry(error @ RegistryError::Mismatch { .. })) => {
                    return Err(ConvertError::Unsupported(format!(
                        "{error}, twice: the registry's copy of the layer is damaged"
                    )));
                }
                finished => return finished,
            }
        }
    }

    async fn convert_once(&self, planned: &PlannedLayer) -> Result<LayerRecord, ConvertError> {
        let Written { converted, upload } = self.write(planned).await?;
        if let Err(error) = check(planned, &converted) {
            push::cancel(upload).await;
            return Err(error);
        }
        if let Some(upload) = upload {
            upload.finish(converted.digest).await?;
        }
        let mut descriptor = Descriptor::new(converted.media_type, converted.digest, converted.size);
        descriptor.annotations = converted.annotations;
        descriptor.annotations.insert(marker::LAYER.to_owned(), self.job.layer_mark());
        let repository = self.job.target.repository().to_owned();
        let (diff_id, outcome) = (converted.diff_id, LayerOutcome::Converted);
        Ok(LayerRecord { descriptor, diff_id, outcome, reason: String::new(), repository })
    }

    /// Download, conversion and upload, joined: the error that is returned is the one that came first, never the
    /// broken bridge that the others saw.
    async fn write(&self, planned: &PlannedLayer) -> Result<Written, ConvertError> {
        let layer = planned.descriptor.digest;
        let (mut downloads, asked) = pull::downloads();
        let (mut bodies, uploading) = push::upload(&self.engine.bodies);
        let (driver, pool) = (Arc::clone(&self.driver), self.engine.pool.clone());
        let converting = tokio::task::spawn_blocking(move || {
            let converted = driver.convert(&pool, &mut downloads, &mut bodies)?;
            bodies.end().map_err(DriverError::Output)?;
            Ok(converted)
        });
        let downloading = asked.serve(&self.job.source, &planned.descriptor, self.watch, self.stop.clone());
        let sending = uploading.run(&self.job.target, layer, self.watch);
        let (downloaded, sent, converted) = tokio::join!(downloading, sending, converting);
        let converted = converted.map_err(|_| ConvertError::Panicked(layer))?;
        match (downloaded, sent, converted) {
            (Ok(()), Ok(upload), Ok(converted)) => Ok(Written { converted, upload }),
            (Err(error), sent, _) => {
                push::cancel(sent.ok().flatten()).await;
                Err(error)
            }
            (Ok(()), Err(error), _) => Err(error.into()),
            (Ok(()), Ok(upload), Err(source)) => {
                push::cancel(upload).await;
                Err(self.blame(planned, source).await)
            }
        }
    }

    /// A source that cannot be read may be damaged, or may have come damaged: that decides whether to try again.
    async fn blame(&self, planned: &PlannedLayer, source: DriverError) -> ConvertError {
        if matches!(source, DriverError::Source(_))
            && source.class() == ErrorClass::Permanent
            && let Err(error) = read_through(&self.job.source, &planned.descriptor).await
        {
            return error.into();
        }
        ConvertError::Layer { layer: planned.descriptor.digest, source }
    }
}

/// Reads a blob to its end, where its digest is compared.
async fn read_through(end: &End, layer: &Descriptor) -> Result<(), RegistryError> {
    let mut blob = end.open_blob(layer, 0).await?;
    while blob.next().await?.is_some() {}
    Ok(())
}

/// Whether the layer was what its image says: before that is known, no upload is closed.
fn check(planned: &PlannedLayer, converted: &Converted) -> Result<(), ConvertError> {
    let (layer, source) = (planned.descriptor.digest, &converted.source);
    let mismatch = |what, expected: String, found: String| Err(ConvertError::Mismatch { layer, what, expected, found });
    if source.source_digest != layer {
        return mismatch("digest", layer.to_string(), source.source_digest.to_string());
    }
    if source.source_bytes != planned.descriptor.size {
        return mismatch("size", planned.descriptor.size.to_string(), source.source_bytes.to_string());
    }
    if source.diff_id != planned.diff_id {
        return mismatch("diff id", planned.diff_id.to_string(), source.diff_id.to_string());
    }
    Ok(())
}

fn report(planned: &PlannedLayer, record: LayerRecord, end: LayerEnd) -> LayerReport {
    let end = if record.outcome == LayerOutcome::Kept { LayerEnd::Kept } else { end };
    LayerReport {
        source: planned.descriptor.clone(),
        target: record.descriptor,
        diff_id: record.diff_id,
        end,
        reason: record.reason,
    }
}
