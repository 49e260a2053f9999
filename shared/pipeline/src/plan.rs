//! Plan: the distinct layers of all platforms, each of them done once.

use std::collections::HashMap;

use accel_image::{Descriptor, Digest};

use crate::error::ConvertError;
use crate::source::SourceImage;

/// A source layer to be finished.
#[derive(Debug, Clone)]
pub(crate) struct PlannedLayer {
    pub(crate) descriptor: Descriptor,
    /// What its image says it decompresses to.
    pub(crate) diff_id: Digest,
}

/// The distinct layers, in the order in which they first appear.
///
/// # Errors
/// Two images that do not agree on what a layer is.
pub(crate) fn layers(images: &[SourceImage]) -> Result<Vec<PlannedLayer>, ConvertError> {
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
