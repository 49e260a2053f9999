//! One image: everything but the tag.

use std::collections::HashMap;

use accel_domain::task::{Phase, Sizes};
use accel_domain::{Marker, Output, Timestamp};
use accel_image::{Descriptor, Digest, Document, RawDocument};
use accel_registry::{End, RegistryError};
use accel_stream::Limits;
use accel_tasks::LayerCache;
use futures::{StreamExt, TryStreamExt};
use tracing::instrument;

use crate::assemble::{self, Assembled, AssembledImage};
use crate::engine::Engine;
use crate::error::ConvertError;
use crate::layer::{LayerReport, Layers};
use crate::source::{Fetched, Source, fetch};
use crate::watch::{Event, Observer, StopSignal};
use crate::{drivers, plan, publish, reuse, tag};

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
    /// The target is there already, or the source is a result of ours.
    AlreadyAccelerated {
        /// What stands under the target tag, if that was looked at.
        target_digest: Option<Digest>,
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
    pub(crate) subjects: Vec<(Digest, Descriptor)>,
}

impl ConvertedImage {
    /// The digest that the target tag will have.
    #[must_use]
    pub const fn target_digest(&self) -> Digest {
        self.top.descriptor.digest
    }
}

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
    watch.event(&Event::Phase(Phase::Resolve));
    let key = job.digest.map_or_else(|| job.source_key.clone(), |digest| digest.to_string());
    let top = job.source.get_manifest(&key).await?;
    if Marker::read(top.document.annotations()).is_some() {
        return Ok(Outcome::AlreadyAccelerated { target_digest: None });
    }
    if let Some(target_digest) = tag::already_there(job, top.digest).await? {
        return Ok(Outcome::AlreadyAccelerated { target_digest: Some(target_digest) });
    }
    let source = match fetch(&job.source, top, &job.output).await? {
        Fetched::Image(source) => source,
        Fetched::NotAnImage(media_type) => return Ok(Outcome::NotAnImage(media_type)),
    };
    let driver = drivers::of(&job.output.options, job.limits);
    let layers = Layers { engine, job, driver, cache, watch, stop, now };
    match convert(&layers, &source).await {
        // A blob that a record promised is gone: the records go, and the layers are done again, once.
        Err(ConvertError::Registry(RegistryError::ManifestBlobUnknown(_))) => {
            forget(&layers, &source).await?;
            match convert(&layers, &source).await {
                Err(ConvertError::Registry(RegistryError::ManifestBlobUnknown(_))) => {
                    Err(ConvertError::BlobsLost { target: job.target.describe() })
                }
                converted => converted,
            }
        }
        converted => converted,
    }
}

async fn convert<C: LayerCache>(layers: &Layers<'_, C>, source: &Source) -> Result<Outcome, ConvertError> {
    let planned = plan::layers(&source.images)?;
    layers.watch.event(&Event::Planned { layers: u32::try_from(planned.len()).unwrap_or(u32::MAX) });
    layers.watch.event(&Event::Phase(Phase::Convert));
    let in_flight = LAYERS_IN_FLIGHT.max(layers.engine.pool.threads());
    let work: Vec<_> = planned.iter().map(|layer| layers.finish(layer)).collect();
    let finished: Vec<LayerReport> = futures::stream::iter(work).buffered(in_flight).try_collect().await?;
    layers.watch.event(&Event::Phase(Phase::Push));
    let assembled = assemble_all(layers.job, source, &finished);
    push_all(layers.job, source, &assembled).await?;
    Ok(Outcome::Converted(Box::new(converted(layers.job, source, assembled, finished))))
}

async fn forget<C: LayerCache>(layers: &Layers<'_, C>, source: &Source) -> Result<(), ConvertError> {
    for layer in plan::layers(&source.images)? {
        layers
            .cache
            .forget_layer(&reuse::key(&layers.job.target, layer.descriptor.digest, &layers.job.output.options))
            .await?;
    }
    Ok(())
}

/// All documents of the target.
struct AllAssembled {
    images: Vec<AssembledImage>,
    index: Option<Assembled>,
}

fn assemble_all(job: &Job, source: &Source, finished: &[LayerReport]) -> AllAssembled {
    let layers: HashMap<Digest, LayerReport> =
        finished.iter().map(|layer| (layer.source.digest, layer.clone())).collect();
    let marker = job.marker(source.top.digest);
    let refers = job.output.subject && job.source.same_repository(&job.target);
    let subject = |descriptor: &Descriptor| refers.then(|| descriptor.clone());
    let one = |image| assemble::image(image, &layers, &marker, subject(&image.descriptor));
    let images: Vec<AssembledImage> = source.images.iter().map(one).collect();
    let index = match &source.top.document {
        Document::Manifest(_) => None,
        Document::Index(index) => {
            let pairs: Vec<_> = source.images.iter().zip(&images).collect();
            Some(assemble::index(index, &pairs, &source.attestations, &marker, subject(&source.top.descriptor())))
        }
    };
    AllAssembled { images, index }
}

/// Configurations, then manifests; the document that gets the tag is left for later.
async fn push_all(job: &Job, source: &Source, assembled: &AllAssembled) -> Result<(), ConvertError> {
    for image in &assembled.images {
        publish::image(&job.target, image, assembled.index.is_some()).await?;
    }
    for attestation in &source.attestations {
        publish::attestation(&job.source, &job.target, attestation).await?;
    }
    Ok(())
}

fn converted(job: &Job, source: &Source, assembled: AllAssembled, layers: Vec<LayerReport>) -> ConvertedImage {
    let sizes = assembled.images.iter().fold(Sizes::default(), |sum, image| Sizes {
        source: sum.source + image.sizes.0,
        target: sum.target + image.sizes.1,
    });
    let top = assembled.index.clone().unwrap_or_else(|| assembled.images[0].manifest.clone());
    let mut subjects = Vec::new();
    if job.output.subject && job.source.same_repository(&job.target) {
        let pairs = source.images.iter().zip(&assembled.images);
        subjects.extend(pairs.map(|(source, image)| (source.descriptor.digest, image.manifest.descriptor.clone())));
        if let Some(index) = &assembled.index {
            subjects.push((source.top.digest, index.descriptor.clone()));
        }
    }
    ConvertedImage {
        source_digest: source.top.digest,
        sizes,
        layers,
        platforms: source.images.len(),
        source: source.top.clone(),
        top,
        subjects,
    }
}
