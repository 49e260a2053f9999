//! One image: everything but the tag.

use std::sync::Arc;
use std::time::Duration;

use accel_domain::task::{Phase, Sizes};
use accel_domain::{Marker, Output, Timestamp};
use accel_image::{Digest, RawDocument};
use accel_registry::{End, RegistryError};
use accel_stream::Limits;
use accel_tasks::LayerCache;
use futures::StreamExt;
use tracing::instrument;

use crate::assemble::{Assembled, AssembledImage};
use crate::dictionary;
use crate::documents::{self, Documents};
use crate::engine::Engine;
use crate::error::ConvertError;
use crate::layer::{LayerReport, Layers};
use crate::plan::PlannedLayer;
use crate::source::{Fetched, Purpose, Source, fetch};
use crate::watch::{Event, Observer, Stop, StopReason, StopSignal};
use crate::{reuse, tag};

/// Layers that are looked at concurrently; how many of them are open at a time is the engine's business.
const LAYERS_IN_FLIGHT: usize = 4;

/// What is to be converted, and into what.
#[derive(Clone)]
pub struct Job {
    /// The repository to read.
    pub source: End,
    /// The tag, or the digest, to read.
    pub source_key: String,
    /// How the marker names the source.
    pub source_name: String,
    /// The digest that the event named; without one, whatever the key points at.
    pub digest: Option<Digest>,
    /// The repository to write.
    pub target: End,
    /// The tag to write.
    pub target_key: String,
    /// The repository of the chunk dictionary, if what is made of the source names one.
    pub dictionary: Option<End>,
    /// What is made of the source.
    pub output: Output,
    /// The identity of that.
    pub rule_hash: Digest,
    /// What a layer of the source may be at most.
    pub limits: Limits,
}

impl Job {
    /// What a converted layer says of how it was made.
    pub(crate) fn layer_mark(&self) -> String {
        format!("{} {}", self.output.format_version(), self.output.options.layer_hash().hex())
    }

    pub(crate) fn marker(&self, source_digest: Digest) -> Marker {
        let format = self.output.format_version();
        Marker { source: self.source_name.clone(), source_digest, rule_hash: self.rule_hash, format }
    }

    /// Whether the target refers to its source: only within a repository.
    pub(crate) fn refers(&self) -> bool {
        self.output.subject && self.source.same_repository(&self.target)
    }

    /// Whether the target is the source tag itself.
    #[must_use]
    pub fn overwrites(&self) -> bool {
        self.output.overwrite && self.source.same_repository(&self.target) && self.source_key == self.target_key
    }
}

/// How a conversion ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything but the tag is in the target's registry.
    Converted(Box<ConvertedImage>),
    /// The target tag has the very result already; [`crate::confirm_tag`] tells whether it still should.
    AlreadyThere {
        /// The source's digest.
        source_digest: Digest,
        /// What stands under the target tag.
        target_digest: Digest,
    },
    /// The source is a result of Accel's itself, made of what this says. Nothing is written.
    AlreadyAccelerated(Marker),
    /// The source tag points elsewhere by now.
    Superseded {
        /// At what; `None` if it is gone.
        now: Option<Digest>,
    },
    /// No container image: its configuration has this media type.
    NotAnImage(String),
}

/// A converted image that waits for its tag.
#[derive(Debug)]
pub struct ConvertedImage {
    /// The source's digest.
    pub source_digest: Digest,
    /// Configuration and layers over all converted platforms.
    pub sizes: Sizes,
    /// The distinct layers, in order.
    pub layers: Vec<LayerReport>,
    /// How many platforms were converted.
    pub platforms: usize,
    pub(crate) source: RawDocument,
    pub(crate) top: Assembled,
}

impl ConvertedImage {
    /// The digest that the target tag will have.
    #[must_use]
    pub const fn target_digest(&self) -> Digest {
        self.top.descriptor.digest
    }
}

/// A stop that the parts of a conversion do not hear in this time ends it from outside.
const STOP_TIME: Duration = Duration::from_secs(15);

/// Converts the image that `job` names, and pushes all of it but the tag. Layers finished before an error stay
/// remembered in `cache`; the next attempt goes on from there.
///
/// # Errors
/// Transient: a later attempt may succeed. Permanent: this image or rule never will. Interrupted: `stop` said so.
#[instrument(skip_all, fields(image.source = %job.source_name))]
pub async fn convert_image(
    engine: &Engine,
    cache: &impl LayerCache,
    job: &Job,
    watch: &dyn Observer,
    stop: StopSignal,
    now: fn() -> Timestamp,
) -> Result<Outcome, ConvertError> {
    within(stop.clone(), async {
        match prepare(job, watch, &stop).await? {
            Prepared::Image(source) => {
                let job = dictionary::at_hand(engine, job, &stop).await?;
                convert_source(&Layers::new(engine, &job, cache, watch, stop, now), &source).await
            }
            Prepared::Nothing(outcome) => Ok(outcome),
        }
    })
    .await
}

/// `work`, given some time to come to an orderly end after `stop` was heard.
pub(crate) async fn within<T>(
    mut stop: StopSignal,
    work: impl Future<Output = Result<T, ConvertError>>,
) -> Result<T, ConvertError> {
    tokio::select! {
        biased;
        done = Box::pin(work) => done,
        reason = async {
            let reason = stop.stopped().await;
            tokio::time::sleep(STOP_TIME).await;
            reason
        } => Err(ConvertError::Stopped(reason)),
    }
}

/// Converts the image, once more where the registry has lost what was remembered.
pub(crate) async fn convert_source<C: LayerCache>(
    layers: &Layers<'_, C>,
    source: &Source,
) -> Result<Outcome, ConvertError> {
    match Box::pin(convert(layers, source)).await {
        // A blob that a record promised is gone: the records go, and the layers are done again, once.
        Err(ConvertError::Registry(RegistryError::ManifestBlobUnknown(_)) | ConvertError::LostBeside(_)) => {
            forget(layers, source).await?;
            match Box::pin(convert(layers, source)).await {
                Err(ConvertError::Registry(RegistryError::ManifestBlobUnknown(_))) => {
                    Err(ConvertError::BlobsLost { target: layers.job.target.describe() })
                }
                converted => converted,
            }
        }
        converted => converted,
    }
}

/// What there is to do.
pub(crate) enum Prepared {
    Image(Box<Source>),
    Nothing(Outcome),
}

/// Finds out what there is to do. A target that is there already costs one GET.
pub(crate) async fn prepare(job: &Job, watch: &dyn Observer, stop: &StopSignal) -> Result<Prepared, ConvertError> {
    watch.event(&Event::Phase(Phase::Resolve));
    stop.unless(Box::pin(look(job))).await
}

async fn look(job: &Job) -> Result<Prepared, ConvertError> {
    let there = match job.digest {
        Some(digest) => tag::already_there(job, digest).await?.map(|target| (digest, target)),
        None => None,
    };
    if let Some((source_digest, target_digest)) = there {
        return Ok(Prepared::Nothing(Outcome::AlreadyThere { source_digest, target_digest }));
    }
    let key = job.digest.map_or_else(|| job.source_key.clone(), |digest| digest.to_string());
    let top = match job.source.get_manifest(&key).await {
        Err(error @ RegistryError::ManifestNotFound(_)) => {
            let now = tag::moved(job).await?.ok_or(error)?;
            return Ok(Prepared::Nothing(Outcome::Superseded { now }));
        }
        top => top?,
    };
    if let Some(marker) = Marker::read(top.document.annotations()) {
        return Ok(Prepared::Nothing(Outcome::AlreadyAccelerated(marker)));
    }
    if job.digest.is_none()
        && let Some(target_digest) = tag::already_there(job, top.digest).await?
    {
        return Ok(Prepared::Nothing(Outcome::AlreadyThere { source_digest: top.digest, target_digest }));
    }
    if let Some(now) = tag::moved(job).await? {
        return Ok(Prepared::Nothing(Outcome::Superseded { now }));
    }
    Ok(match fetch(&job.source, top, &job.output, Purpose::Conversion).await? {
        Fetched::Image(source) => Prepared::Image(source),
        Fetched::NotAnImage(media_type) => Prepared::Nothing(Outcome::NotAnImage(media_type)),
    })
}

async fn convert<C: LayerCache>(layers: &Layers<'_, C>, source: &Source) -> Result<Outcome, ConvertError> {
    let planned = layers.plan(source)?;
    layers.watch.event(&Event::Planned { layers: u32::try_from(planned.len()).unwrap_or(u32::MAX) });
    layers.watch.event(&Event::Phase(Phase::Convert));
    let finished = convert_layers(layers, &planned).await?;
    layers.watch.event(&Event::Phase(Phase::Push));
    let assembled = documents::assemble(layers, source, &finished).await?;
    Box::pin(documents::push(layers, source, &assembled)).await?;
    Ok(Outcome::Converted(Box::new(converted(source, assembled, finished))))
}

/// Finishes all layers. After the first error the others are stopped, and come to an orderly end.
async fn convert_layers<C: LayerCache>(
    layers: &Layers<'_, C>,
    planned: &[PlannedLayer],
) -> Result<Vec<LayerReport>, ConvertError> {
    let _at_work = layers.engine.at_work();
    let halt = Stop::new();
    let layers = &Layers { stop: layers.stop.or(&halt), driver: Arc::clone(&layers.driver), ..*layers };
    let in_flight = LAYERS_IN_FLIGHT.max(layers.engine.pool.threads());
    let work: Vec<_> = planned.iter().enumerate().map(|(at, layer)| finish(layers, at, layer)).collect();
    let mut running = futures::stream::iter(work).buffer_unordered(in_flight);
    let (mut finished, mut failed) = (Vec::with_capacity(planned.len()), None);
    while let Some((at, done)) = running.next().await {
        match done {
            Ok(report) => finished.push((at, report)),
            Err(error) => {
                halt.stop(StopReason::LayerFailed);
                failed.get_or_insert(error);
            }
        }
    }
    finished.sort_unstable_by_key(|(at, _)| *at);
    failed.map_or_else(|| Ok(finished.into_iter().map(|(_, report)| report).collect()), Err)
}

async fn finish<C: LayerCache>(
    layers: &Layers<'_, C>,
    at: usize,
    layer: &PlannedLayer,
) -> (usize, Result<LayerReport, ConvertError>) {
    match layers.stop.reason() {
        Some(reason) => (at, Err(ConvertError::Stopped(reason))),
        None => (at, Box::pin(layers.finish(layer)).await),
    }
}

async fn forget<C: LayerCache>(layers: &Layers<'_, C>, source: &Source) -> Result<(), ConvertError> {
    for layer in layers.plan(source)? {
        let key = reuse::key(&layers.job.target, layer.descriptor.digest, &layers.job.output.options);
        reuse::forget(layers.cache, &key).await;
    }
    Ok(())
}

fn converted(source: &Source, assembled: Documents, layers: Vec<LayerReport>) -> ConvertedImage {
    let sum = |images: &[AssembledImage], size: fn(&AssembledImage) -> u64| -> u64 {
        images.iter().map(size).fold(0, u64::saturating_add)
    };
    let made = sum(&assembled.images, |image| image.sizes.1);
    let sizes = Sizes {
        source: sum(&assembled.images, |image| image.sizes.0),
        target: made.saturating_add(sum(&assembled.plain, |image| image.sizes.1)),
    };
    let top = assembled.index.unwrap_or_else(|| assembled.images[0].manifest.clone());
    let platforms = source.images.len();
    ConvertedImage { source_digest: source.top.digest, sizes, layers, platforms, source: source.top.clone(), top }
}
