//! Inspect: what an image is made of. Documents, and of each layer its first bytes, its footer and its TOC, by range. Only
//! the bootstrap layer of a Nydus image is read whole.

mod bootstrap;
mod layer;
mod report;

use accel_domain::{ErrorClass, Format, Marker, Output};
use accel_image::{Descriptor, Document};
use accel_registry::End;
use accel_stream::{Compression, Limits};
use futures::{StreamExt, TryStreamExt};
use tracing::instrument;

use crate::error::ConvertError;
use crate::source::{Fetched, Purpose, SourceImage, fetch};
use layer::Toc;

pub use report::{
    BootstrapContents, ImageContents, InspectReport, Landmark, LargestFile, LayerContents, LayerFormat, Origin,
    TocContents,
};

/// Layers that are looked at at the same time.
const LAYERS_IN_FLIGHT: usize = 4;

/// Why an image could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It, or a part of it, cannot be read.
    #[error(transparent)]
    Image(#[from] ConvertError),
    /// It is no container image.
    #[error("this is no container image: its configuration is of type `{0}`")]
    NotAnImage(String),
}

impl InspectError {
    /// What the error means for whoever might try again.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Image(error) => error.class(),
            Self::NotAnImage(_) => ErrorClass::Permanent,
        }
    }
}

/// Looks at the image under `key`, a tag or a digest. Layers that say they are eStargz and are not are reported with
/// what is wrong, they are no error.
///
/// # Errors
/// The image cannot be read.
#[instrument(skip_all, fields(image.source = %key))]
pub async fn inspect_image(end: &End, key: &str, limits: Limits) -> Result<InspectReport, InspectError> {
    let top = end.get_manifest(key).await.map_err(ConvertError::from)?;
    let (digest, media_type) = (top.digest, top.document.media_type().to_owned());
    let origin = Marker::read(top.document.annotations()).map(Origin::from);
    let (is_index, attestations) = match &top.document {
        Document::Index(index) => (true, index.manifests.iter().filter(|entry| entry.is_attestation()).count() as u64),
        Document::Manifest(_) => (false, 0),
    };
    let everything = Output::new(Format::Estargz.default_options());
    let source = match Box::pin(fetch(end, top, &everything, Purpose::Look)).await? {
        Fetched::Image(source) => source,
        Fetched::NotAnImage(media_type) => return Err(InspectError::NotAnImage(media_type)),
    };
    let mut images = Vec::new();
    for image in &source.images {
        images.push(Box::pin(inspect_platform(end, image, limits)).await?);
    }
    Ok(InspectReport { digest, media_type, is_index, origin, images, attestations })
}

async fn inspect_platform(end: &End, image: &SourceImage, limits: Limits) -> Result<ImageContents, ConvertError> {
    let layers: Vec<LayerContents> = futures::stream::iter(&image.manifest.layers)
        .map(|descriptor| layer::inspect(end, descriptor, limits))
        .buffered(LAYERS_IN_FLIGHT)
        .try_collect()
        .await?;
    let config = &image.manifest.config;
    let size = config.size + layers.iter().map(|layer| layer.size).sum::<u64>();
    let platform = image.config.platform().to_string();
    Ok(ImageContents { platform, digest: image.descriptor.digest, config: config.digest, size, layers })
}

/// Whether a layer is eStargz with the very TOC that its annotation names. Nothing but its first bytes, its footer and
/// its TOC is read, whatever its annotations say that it is.
///
/// # Errors
/// Those of the registry.
pub(crate) async fn has_its_toc(end: &End, layer: &Descriptor, limits: Limits) -> Result<bool, ConvertError> {
    if layer::compression(end, layer).await? != Compression::Gzip {
        return Ok(false);
    }
    let toc = layer::toc(end, layer, limits).await?;
    Ok(matches!(toc, Toc::Read(toc) if toc.digest_agrees == Some(true)))
}
