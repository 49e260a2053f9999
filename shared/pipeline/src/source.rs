//! Pull: the documents of the source image, down to each platform's configuration.

use accel_domain::{Attestations, Output};
use accel_image::{Descriptor, Digest, Document, ImageConfig, Index, Manifest, Platform, RawDocument, media_type};
use accel_registry::End;

use crate::error::ConvertError;

/// No honest configuration is larger.
const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// Manifests and configurations of an image, together: they are all in memory at a time.
const MAX_DOCUMENTS_BYTES: u64 = 16 << 20;
/// Entries of an index that are looked at.
const MAX_MANIFESTS: usize = 256;
/// Layers of one platform; runtimes stop at 127.
const MAX_LAYERS: usize = 1024;

/// A source image with everything that is converted of it.
pub(crate) struct Source {
    /// What stands under the tag.
    pub(crate) top: RawDocument,
    /// The images to convert: one, or those of an index.
    pub(crate) images: Vec<SourceImage>,
    /// The attestations to carry.
    pub(crate) attestations: Vec<Attestation>,
}

/// One platform's image.
pub(crate) struct SourceImage {
    /// The entry of the index that names it, if it stands in one.
    pub(crate) entry: Option<Descriptor>,
    /// A descriptor of the manifest.
    pub(crate) descriptor: Descriptor,
    pub(crate) manifest: Manifest,
    pub(crate) config: ImageConfig,
}

/// An attestation of one of the images.
pub(crate) struct Attestation {
    pub(crate) entry: Descriptor,
    pub(crate) manifest: Manifest,
    pub(crate) raw: RawDocument,
}

/// What a tag turned out to hold.
pub(crate) enum Fetched {
    Image(Box<Source>),
    /// A chart, a signature, a model: no container image.
    NotAnImage(String),
}

/// What an image is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be converted: Nydus images of a merged index are left out, since they stand beside what they were made of.
    Conversion,
    /// To be looked at: everything that is an image.
    Look,
}

impl Purpose {
    fn wants(self, config_type: &str) -> bool {
        media_type::is_image_config(config_type) || self == Self::Look && config_type == media_type::NYDUS_CONFIG
    }
}

/// Fetches what `output` wants of the image under `top`.
///
/// # Errors
/// Those of the registry; an image that cannot be converted.
pub(crate) async fn fetch(
    end: &End,
    top: RawDocument,
    output: &Output,
    purpose: Purpose,
) -> Result<Fetched, ConvertError> {
    match top.document.clone() {
        Document::Manifest(manifest) if !purpose.wants(&manifest.config.media_type) => {
            Ok(Fetched::NotAnImage(manifest.config.media_type))
        }
        Document::Manifest(manifest) => {
            let image = fetch_image(end, None, top.descriptor(), manifest).await?;
            check_platform(&image, output)?;
            Ok(Fetched::Image(Box::new(Source { top, images: vec![image], attestations: Vec::new() })))
        }
        Document::Index(index) => fetch_index(end, top, index, output, purpose).await,
    }
}

async fn fetch_index(
    end: &End,
    top: RawDocument,
    index: Index,
    output: &Output,
    purpose: Purpose,
) -> Result<Fetched, ConvertError> {
    let (mut images, mut attestations) = (Vec::new(), Vec::new());
    let mut bytes = top.bytes.len() as u64;
    for entry in index.manifests {
        let attests = entry.is_attestation();
        if attests && output.attestations == Attestations::Drop || !attests && !wanted(&entry, output) {
            continue;
        }
        bytes = bytes.saturating_add(entry.size);
        if images.len() + attestations.len() == MAX_MANIFESTS || bytes > MAX_DOCUMENTS_BYTES {
            let reason =
                format!("the index names more than {MAX_MANIFESTS} manifests or {MAX_DOCUMENTS_BYTES} bytes of them");
            return Err(ConvertError::Unsupported(reason));
        }
        let raw = end.get_manifest(&entry.digest.to_string()).await?;
        let Document::Manifest(manifest) = raw.document.clone() else {
            let reason = format!("the index holds another index ({}), which no runtime pulls", entry.digest);
            return Err(ConvertError::Unsupported(reason));
        };
        if attests {
            attestations.push(Attestation { entry, manifest, raw });
        } else if purpose.wants(&manifest.config.media_type) {
            bytes = bytes.saturating_add(manifest.config.size);
            let image = fetch_image(end, Some(entry), raw.descriptor(), manifest).await?;
            images.extend(selects(&image.config.platform(), output).then_some(image));
        }
    }
    if images.is_empty() {
        let wanted = if output.platforms.is_empty() { "any platform".to_owned() } else { listed(output) };
        return Err(ConvertError::Unsupported(format!("the index has no image for {wanted}")));
    }
    let digests: Vec<Digest> = images.iter().map(|image| image.descriptor.digest).collect();
    attestations.retain(|attestation| attestation.entry.attested().is_some_and(|digest| digests.contains(&digest)));
    Ok(Fetched::Image(Box::new(Source { top, images, attestations })))
}

/// Whether the rule selects the entry's platform; an entry without one is decided by its configuration.
fn wanted(entry: &Descriptor, output: &Output) -> bool {
    entry.platform.as_ref().is_none_or(|platform| selects(platform, output))
}

fn selects(platform: &Platform, output: &Output) -> bool {
    output.platforms.is_empty() || output.platforms.iter().any(|wanted| platform.matches(wanted))
}

fn listed(output: &Output) -> String {
    output.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn check_platform(image: &SourceImage, output: &Output) -> Result<(), ConvertError> {
    let platform = image.config.platform();
    if selects(&platform, output) {
        return Ok(());
    }
    Err(ConvertError::Unsupported(format!("the image is for {platform}, the rule wants {}", listed(output))))
}

async fn fetch_image(
    end: &End,
    entry: Option<Descriptor>,
    descriptor: Descriptor,
    manifest: Manifest,
) -> Result<SourceImage, ConvertError> {
    let bytes = end.get_small_blob(&manifest.config, MAX_CONFIG_BYTES).await?;
    let digest = manifest.config.digest;
    let config = ImageConfig::parse(&bytes).map_err(|source| ConvertError::Config { digest, source })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids().len());
    if layers != diff_ids {
        return Err(ConvertError::Unsupported(format!(
            "the image has {layers} layers but {diff_ids} diff ids: its manifest and its configuration do not belong together"
        )));
    }
    if layers > MAX_LAYERS {
        return Err(ConvertError::Unsupported(format!("the image has {layers} layers, more than {MAX_LAYERS}")));
    }
    let known =
        |layer: &Descriptor| media_type::is_layer(&layer.media_type) || layer.media_type == media_type::NYDUS_BLOB;
    if let Some(layer) = manifest.layers.iter().find(|layer| !known(layer)) {
        return Err(ConvertError::Unsupported(format!(
            "layer {} has the unknown media type `{}`",
            layer.digest, layer.media_type
        )));
    }
    Ok(SourceImage { entry, descriptor, manifest, config })
}
