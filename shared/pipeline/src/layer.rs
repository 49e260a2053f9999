//! One layer: reused, kept, or downloaded, converted and uploaded at the same time.

use std::sync::Arc;

use accel_domain::{ErrorClass, Timestamp, marker};
use accel_driver::{Converted, Driver, DriverError};
use accel_image::{Descriptor, Digest, media_type};
use accel_registry::{End, RegistryError, Upload};
use accel_stream::StreamError;
use accel_tasks::{LayerCache, LayerOutcome, LayerRecord};
use tokio::sync::SemaphorePermit;
use tracing::instrument;

use crate::dictionary::Dictionary;
use crate::engine::Engine;
use crate::error::ConvertError;
use crate::image::Job;
use crate::plan::{self, PlannedLayer};
use crate::publish::Presence;
use crate::source::Source;
use crate::watch::{Event, LayerEnd, Observer, StopSignal};
use crate::{drivers, inspect, nydus, publish, pull, push, reuse};

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
    pub(crate) dictionary: Option<&'a Dictionary>,
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

impl<'a, C> Layers<'a, C> {
    /// What the layers of the image that `job` names share; its dictionary is at hand.
    pub(crate) fn new(
        engine: &'a Engine,
        (job, dictionary): &'a (Job, Option<Dictionary>),
        cache: &'a C,
        watch: &'a dyn Observer,
        stop: StopSignal,
        now: fn() -> Timestamp,
    ) -> Self {
        let dictionary = dictionary.as_ref();
        let chunks = dictionary.map(Dictionary::chunks);
        let driver = drivers::of(&job.output.options, job.limits, chunks);
        Self { engine, job, dictionary, driver, cache, watch, stop, now }
    }

    /// The distinct layers of `source`.
    ///
    /// # Errors
    /// The image cannot be converted into this format.
    pub(crate) fn plan(&self, source: &Source) -> Result<Vec<PlannedLayer>, ConvertError> {
        nydus::check_target(self.job)?;
        plan::layers(&source.images, self.driver.merge().is_some())
    }
}

impl<C: LayerCache> Layers<'_, C> {
    /// Finishes a layer in whatever way costs least.
    ///
    /// # Errors
    /// Any that fail the image's attempt; layers that were finished stay remembered.
    #[instrument(skip_all, fields(layer.digest = %planned.descriptor.digest))]
    pub(crate) async fn finish(&self, planned: &PlannedLayer) -> Result<LayerReport, ConvertError> {
        let source = &planned.descriptor;
        if let Some(reason) = self.stays(source).await? {
            self.again(|| self.keep(planned)).await?;
            return Ok(self.done(kept(planned, reason)));
        }
        let key = reuse::key(&self.job.target, source.digest, &self.job.output.options);
        if let Some((record, end)) = reuse::find(self.cache, &key, &self.job.target, (self.now)()).await? {
            return Ok(self.done(report(planned, record, end)));
        }
        let _open = self.open().await?;
        self.watch.event(&Event::LayerStarted { layer: source.digest, size: source.size });
        let record = match self.again(|| Box::pin(self.convert(planned))).await {
            Err(ConvertError::Layer { source: error @ DriverError::Unrepresentable { .. }, .. })
                if self.driver.merge().is_none() =>
            {
                self.again(|| self.keep(planned)).await?;
                self.kept_record(planned, error.to_string())
            }
            converted => converted?,
        };
        reuse::remember(self.cache, &key, &record, (self.now)()).await;
        Ok(self.done(report(planned, record, LayerEnd::Converted)))
    }

    /// Waits until one more layer may be open.
    pub(crate) async fn open(&self) -> Result<SemaphorePermit<'_>, ConvertError> {
        self.stop.unless(async { Ok::<_, ConvertError>(self.engine.open().await) }).await
    }

    fn done(&self, report: LayerReport) -> LayerReport {
        self.watch.event(&Event::LayerDone { layer: report.source.digest, end: report.end, reason: &report.reason });
        report
    }

    /// Why the layer stays as it is, if that is known before it is read. What its annotations say is not believed.
    async fn stays(&self, layer: &Descriptor) -> Result<Option<String>, ConvertError> {
        if media_type::is_foreign_layer(&layer.media_type) {
            return Ok(Some("it may not be distributed".to_owned()));
        }
        if media_type::is_encrypted_layer(&layer.media_type) {
            return Ok(Some("it is encrypted".to_owned()));
        }
        if !self.claims_to_be_done(layer) {
            return Ok(None);
        }
        let right = self.stop.unless(inspect::has_its_toc(&self.job.source, layer, self.job.limits)).await?;
        Ok(right.then(|| "it has this format and these options already".to_owned()))
    }

    /// Whether the layer says that it is what this job would make of it. Where all layers of an image make one file system,
    /// none can stay, whatever it says.
    pub(crate) fn claims_to_be_done(&self, layer: &Descriptor) -> bool {
        self.driver.merge().is_none() && layer.annotations.get(marker::LAYER) == Some(&self.job.layer_mark())
    }

    /// Sees to it that the target's repository has the source layer.
    async fn keep(&self, planned: &PlannedLayer) -> Result<(), ConvertError> {
        if media_type::is_foreign_layer(&planned.descriptor.media_type) {
            return Ok(());
        }
        let blob = (&planned.descriptor, Presence::Asked);
        publish::provide_blob(&self.job.source, &self.job.target, blob, self.watch, &self.stop).await
    }

    fn kept_record(&self, planned: &PlannedLayer, reason: String) -> LayerRecord {
        let repository = self.job.target.repository().to_owned();
        let LayerReport { target: descriptor, diff_id, reason, .. } = kept(planned, reason);
        LayerRecord { descriptor, diff_id, outcome: LayerOutcome::Kept, reason, repository }
    }

    /// Does the work; begins again where an upload was lost or what was read was wrong once.
    pub(crate) async fn again<T, W: Future<Output = Result<T, ConvertError>>>(
        &self,
        work: impl Fn() -> W,
    ) -> Result<T, ConvertError> {
        let (mut lost, mut mismatched) = (0, false);
        loop {
            match work().await {
                Err(ConvertError::Registry(RegistryError::UploadLost { .. })) if lost < UPLOADS_LOST => lost += 1,
                Err(error) if !mismatched && error.may_be_damage_in_transit() => mismatched = true,
                Err(ConvertError::Registry(error @ RegistryError::Mismatch { .. })) => {
                    return Err(ConvertError::WrongTwice(error));
                }
                finished => return finished,
            }
        }
    }

    async fn convert(&self, planned: &PlannedLayer) -> Result<LayerRecord, ConvertError> {
        let Written { converted, upload } = Box::pin(self.write(planned)).await?;
        if let Err(error) = check(planned, &converted) {
            push::cancel(upload).await;
            return Err(error);
        }
        if let Some(upload) = upload {
            push::close(upload, converted.digest, &self.stop).await?;
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
        let downloading = asked.serve(&self.job.source, &planned.descriptor, self.watch, &self.stop);
        let sending = uploading.run(&self.job.target, layer, self.watch, &self.stop);
        let (downloaded, sent, converted) = tokio::join!(downloading, sending, converting);
        let converted = converted.map_err(|_| ConvertError::Panicked(layer))?;
        match (downloaded, sent, converted) {
            (Ok(()), Ok(upload), Ok(converted)) => Ok(Written { converted, upload }),
            (Err(error), sent, _) => {
                push::cancel(sent.ok().flatten()).await;
                Err(error)
            }
            (Ok(()), Err(error), _) => Err(error),
            (Ok(()), Ok(upload), Err(source)) => {
                push::cancel(upload).await;
                Err(self.blame(planned, source).await)
            }
        }
    }

    /// A source that cannot be read may have come damaged, or may be what its image names: reading it once more tells,
    /// and decides whether to try again.
    async fn blame(&self, planned: &PlannedLayer, source: DriverError) -> ConvertError {
        let layer = planned.descriptor.digest;
        let DriverError::Source(unreadable) = &source else { return ConvertError::Layer { layer, source } };
        if matches!(unreadable, StreamError::Read(_) | StreamError::Cut | StreamError::AfterFailure) {
            return ConvertError::Layer { layer, source };
        }
        match self.stop.unless(read_through(&self.job.source, &planned.descriptor)).await {
            Err(error) => error,
            Ok(()) if source.class() == ErrorClass::Permanent => ConvertError::Layer { layer, source },
            Ok(()) => ConvertError::Damaged { layer, source },
        }
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

/// Of a kept layer nothing but the reason is taken from the record: the rest is what this image says of it.
fn report(planned: &PlannedLayer, record: LayerRecord, end: LayerEnd) -> LayerReport {
    match record.outcome {
        LayerOutcome::Kept => kept(planned, record.reason),
        LayerOutcome::Converted => LayerReport {
            source: planned.descriptor.clone(),
            target: record.descriptor,
            diff_id: record.diff_id,
            end,
            reason: String::new(),
        },
    }
}

/// The layer as it is, under OCI's name for its media type.
fn kept(planned: &PlannedLayer, reason: String) -> LayerReport {
    let (source, diff_id) = (planned.descriptor.clone(), planned.diff_id);
    let target = Descriptor { media_type: media_type::to_oci(&source.media_type).to_owned(), ..source.clone() };
    LayerReport { source, target, diff_id, end: LayerEnd::Kept, reason }
}
