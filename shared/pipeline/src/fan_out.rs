//! Fan-out: an image with more to convert than one invocation should do is converted layer by layer in others, each of
//! which remembers what it did; [`crate::convert_image`] then finds everything there.

use accel_domain::Timestamp;
use accel_domain::config::FanOut;
use accel_domain::task::Phase;
use accel_image::{Descriptor, Digest, media_type};
use accel_tasks::LayerCache;
use tracing::instrument;

use crate::dictionary;
use crate::engine::Engine;
use crate::error::ConvertError;
use crate::image::{Job, Outcome, Prepared, convert_source, prepare, within};
use crate::layer::{LayerReport, Layers};
use crate::plan::PlannedLayer;
use crate::reuse;
use crate::source::Source;
use crate::watch::{Event, Observer, StopSignal};

/// How far a conversion went.
#[derive(Debug)]
pub enum Step {
    /// It is at its end.
    Ended(Outcome),
    /// It is too much for one invocation: these layers, the largest first, are for [`convert_layer`].
    FanOut(Vec<Descriptor>),
}

/// [`crate::convert_image`], unless more than `limits` allow is to be converted: nothing is done then.
///
/// # Errors
/// As [`crate::convert_image`].
#[instrument(skip_all, fields(image.source = %job.source_name))]
pub async fn convert_or_fan_out(
    engine: &Engine,
    cache: &impl LayerCache,
    job: &Job,
    limits: FanOut,
    watch: &dyn Observer,
    stop: StopSignal,
    now: fn() -> Timestamp,
) -> Result<Step, ConvertError> {
    within(stop.clone(), async {
        let source = match prepare(job, watch, &stop).await? {
            Prepared::Image(source) => source,
            Prepared::Nothing(outcome) => return Ok(Step::Ended(outcome)),
        };
        let job = dictionary::at_hand(engine, job, &stop).await?;
        let layers = Layers::new(engine, &job, cache, watch, stop, now);
        let apart = to_be_converted(&layers, &source).await?;
        let bytes = apart.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        if limits.is_exceeded_by(apart.len(), bytes) {
            return Ok(Step::FanOut(apart));
        }
        convert_source(&layers, &source).await.map(Step::Ended)
    })
    .await
}

/// Finishes the one layer `layer` of the image that `job` names, and remembers what became of it. `None` if there is
/// nothing to convert any more: the source tag has moved on, the target is there, or the image has no such layer.
///
/// # Errors
/// As [`crate::convert_image`].
#[instrument(skip_all, fields(image.source = %job.source_name))]
pub async fn convert_layer(
    engine: &Engine,
    cache: &impl LayerCache,
    job: &Job,
    layer: Digest,
    watch: &dyn Observer,
    stop: StopSignal,
    now: fn() -> Timestamp,
) -> Result<Option<LayerReport>, ConvertError> {
    within(stop.clone(), async {
        let Prepared::Image(source) = prepare(job, watch, &stop).await? else { return Ok(None) };
        let job = dictionary::at_hand(engine, job, &stop).await?;
        let layers = Layers::new(engine, &job, cache, watch, stop, now);
        let planned = layers.plan(&source)?;
        let Some(planned) = planned.iter().find(|planned| planned.descriptor.digest == layer) else { return Ok(None) };
        watch.event(&Event::Phase(Phase::Convert));
        let _at_work = engine.at_work();
        Box::pin(layers.finish(planned)).await.map(Some)
    })
    .await
}

/// The layers of which nothing is remembered, the largest first. Whether the registry still has what a record names is
/// not asked: a record that is wrong costs its layer a place in another invocation, nothing else.
async fn to_be_converted<C: LayerCache>(
    layers: &Layers<'_, C>,
    source: &Source,
) -> Result<Vec<Descriptor>, ConvertError> {
    let planned = layers.plan(source)?;
    layers.watch.event(&Event::Planned { layers: u32::try_from(planned.len()).unwrap_or(u32::MAX) });
    layers.watch.event(&Event::Phase(Phase::Convert));
    let mut apart = Vec::new();
    for PlannedLayer { descriptor, .. } in planned {
        let key = reuse::key(&layers.job.target, descriptor.digest, &layers.job.output.options);
        let stays = media_type::is_foreign_layer(&descriptor.media_type)
            || media_type::is_encrypted_layer(&descriptor.media_type)
            || layers.claims_to_be_done(&descriptor);
        let is_known = stays || matches!(layers.cache.find_layer(&key, (layers.now)()).await, Ok(Some(_)));
        if !is_known {
            apart.push(descriptor);
        }
    }
    apart.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    Ok(apart)
}
