//! Verify: whether an accelerated image holds the same file system as its source, and whether every chunk, digest,
//! TOC and footer of it is right. Nothing is mounted, nothing is unpacked, nothing is written.
//!
//! Documents are compared first. Then, where layers stand for layers, for each distinct pair of them, one pass over the source's layer notes a
//! digest for every path, and one over the target's blob, beside its TOC, strikes them off. Memory: 128 bytes a file
//! of the layers that are open, and a little more than 1 MiB. A Nydus image is compared as a whole: memory is its
//! bootstrap, 150 bytes a path, and 100 bytes a chunk.

mod documents;

mod files;
mod layer;
mod merged;
mod nydus;
mod report;

use accel_domain::{Format, Output};
use accel_image::{Platform, RawDocument};
use accel_registry::End;
use accel_stream::Limits;
use futures::{StreamExt, TryStreamExt};
use tracing::instrument;

use crate::error::ConvertError;
use crate::source::{Fetched, Purpose, Source, fetch};
use crate::watch::{Event, Observer};
use documents::Compared;

pub use report::VerifyReport;

/// Pairs of layers that are compared at the same time.
const LAYERS_IN_FLIGHT: usize = 2;

/// What is to be verified of an image, and within which limits.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Platforms that the target has to have; empty means those that it has.
    pub platforms: Vec<Platform>,
    /// Limits for the layers of both sides.
    pub limits: Limits,
}

/// Why it could not be found out whether an image is right. What is wrong with it is in the report, not here.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An image cannot be read.
    #[error("the {side} image: {source}")]
    Image {
        /// `source` or `target`.
        side: &'static str,
        /// Why.
        source: ConvertError,
    },
    /// It is no container image.
    #[error("the {side} is no container image: its configuration is of type `{media_type}`")]
    NotAnImage {
        /// `source` or `target`.
        side: &'static str,
        /// The configuration's media type.
        media_type: String,
    },
    /// A layer of the source cannot be read.
    #[error(transparent)]
    Layer(#[from] ConvertError),
}

impl VerifyError {
    /// What the error means for whoever might try again.
    #[must_use]
    pub fn class(&self) -> accel_domain::ErrorClass {
        match self {
            Self::Image { source, .. } | Self::Layer(source) => source.class(),
            Self::NotAnImage { .. } => accel_domain::ErrorClass::Permanent,
        }
    }
}

/// Compares the image under `target_key` with its source under `source_key`; both are tags or digests.
///
/// # Errors
/// What kept us from finding out. An image that is wrong is a report with differences.
#[instrument(skip_all, fields(image.source = %source_key, image.target = %target_key))]
pub async fn verify_image(
    (source, source_key): (&End, &str),
    (target, target_key): (&End, &str),
    options: &VerifyOptions,
    watch: &dyn Observer,
) -> Result<VerifyReport, VerifyError> {
    let (source_top, target_top) =
        tokio::try_join!(top(source, source_key, "source"), top(target, target_key, "target"))?;
    let mut report = VerifyReport::new(source_top.digest, target_top.digest);
    if source_top.digest == target_top.digest {
        return Ok(report); // one and the same image
    }
    let (source_image, target_image) = tokio::try_join!(
        image(source, source_top, options, Purpose::Conversion),
        image(target, target_top, options, Purpose::Look)
    )?;
    let (target_image, is_merged) = merged::take_apart(&source_image, target_image, &mut report);
    documents::compare_tops(&source_image, &target_image, is_merged, &mut report);
    let Compared { pairs, wholes } = documents::compare(&source_image, &target_image, options, &mut report);
    let layers = pairs.len() + wholes.iter().map(|whole| whole.source.len()).sum::<usize>();
    watch.event(&Event::Planned { layers: u32::try_from(layers).unwrap_or(u32::MAX) });
    let ends = layer::Ends { source, target, limits: options.limits, watch };
    let found: Vec<VerifyReport> = futures::stream::iter(&pairs)
        .map(|pair| Box::pin(ends.compare(pair, report.empty())))
        .buffered(LAYERS_IN_FLIGHT)
        .try_collect()
        .await?;
    found.into_iter().for_each(|layer| report.add(layer));
    for whole in &wholes {
        report.add(Box::pin(ends.compare_whole(whole, report.empty())).await?);
    }
    Ok(report)
}

async fn top(end: &End, key: &str, side: &'static str) -> Result<RawDocument, VerifyError> {
    end.get_manifest(key).await.map_err(|error| VerifyError::Image { side, source: error.into() })
}

/// Of the source what a conversion reads of it; of the target everything.
async fn image(end: &End, top: RawDocument, options: &VerifyOptions, purpose: Purpose) -> Result<Source, VerifyError> {
    let side = match purpose {
        Purpose::Conversion => "source",
        Purpose::Look => "target",
    };
    let everything = Output { platforms: options.platforms.clone(), ..Output::new(Format::Estargz.default_options()) };
    let fetched = Box::pin(fetch(end, top, &everything, purpose)).await;
    match fetched.map_err(|source| VerifyError::Image { side, source })? {
        Fetched::Image(image) => Ok(*image),
        Fetched::NotAnImage(media_type) => Err(VerifyError::NotAnImage { side, media_type }),
    }
}
