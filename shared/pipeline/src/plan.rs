//! Plan: the distinct layers of all platforms, each of them done once.

use std::collections::HashMap;

use accel_image::{Descriptor, Digest, media_type};

use crate::error::ConvertError;
use crate::nydus;
use crate::source::SourceImage;

/// A source layer to be finished.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLayer {
    pub(crate) descriptor: Descriptor,
    /// What its image says it decompresses to.
    pub(crate) diff_id: Digest,
}

/// The distinct layers, in the order in which they first appear. `all` says that every one of them has to be converted:
/// the format cannot leave any as it is.
///
/// # Errors
/// Two images that do not agree on what a layer is; images with layers that cannot be converted.
pub(crate) fn layers(images: &[SourceImage], all: bool) -> Result<Vec<PlannedLayer>, ConvertError> {
    images.iter().try_for_each(|image| check(image, all))?;
    let mut seen: HashMap<Digest, usize> = HashMap::new();
    let mut layers: Vec<PlannedLayer> = Vec::new();
    for image in images {
        for (descriptor, &diff_id) in image.manifest.layers.iter().zip(image.config.diff_ids()) {
            match seen.get(&descriptor.digest).map(|&at| &layers[at]) {
                Some(known) => agree(known, descriptor, diff_id)?,
                None => {
                    seen.insert(descriptor.digest, layers.len());
                    layers.push(PlannedLayer { descriptor: descriptor.clone(), diff_id });
                }
            }
        }
    }
    Ok(layers)
}

/// Whether the layers of `image` can be converted, as far as its manifest tells.
fn check(image: &SourceImage, all: bool) -> Result<(), ConvertError> {
    let unsupported = |reason: String| Err(ConvertError::Unsupported(reason));
    if nydus::is_image(&image.manifest) {
        return unsupported("this is a Nydus image already: convert the image that it was made of".to_owned());
    }
    let fixed = |layer: &&Descriptor| {
        media_type::is_foreign_layer(&layer.media_type) || media_type::is_encrypted_layer(&layer.media_type)
    };
    match image.manifest.layers.iter().find(fixed).filter(|_| all) {
        Some(layer) => {
            let (platform, kind) = (image.config.platform(), &layer.media_type);
            unsupported(format!(
                "layer {} of {platform} has to stay as it is (`{kind}`), and a Nydus image cannot hold it: leave this \
                 platform out with `platforms`, or make eStargz of the image",
                layer.digest
            ))
        }
        None => Ok(()),
    }
}

fn agree(known: &PlannedLayer, descriptor: &Descriptor, diff_id: Digest) -> Result<(), ConvertError> {
    let layer = descriptor.digest;
    if known.diff_id != diff_id {
        return Err(ConvertError::Mismatch {
            layer,
            what: "diff id",
            expected: known.diff_id.to_string(),
            found: diff_id.to_string(),
        });
    }
    if known.descriptor.size != descriptor.size {
        let (expected, found) = (known.descriptor.size.to_string(), descriptor.size.to_string());
        return Err(ConvertError::Mismatch { layer, what: "size", expected, found });
    }
    Ok(())
}
