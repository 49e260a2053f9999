//! The table of drivers: the one place that knows which crate makes which format.

use std::sync::Arc;

use accel_domain::{FormatOptions, Output};
use accel_driver::Driver;
use accel_driver_estargz::Estargz;
use accel_driver_nydus::{ChunkDictionary, Nydus};
use accel_image::{Annotations, Digest, media_type};
use accel_stream::Limits;
use serde_json::Value;

use crate::nydus;

/// The driver for `options`, with the chunks of the dictionary that they name.
pub(crate) fn of(options: &FormatOptions, limits: Limits, dictionary: Option<Arc<ChunkDictionary>>) -> Arc<dyn Driver> {
    match options {
        FormatOptions::Estargz(options) => Arc::new(Estargz::new(options.clone(), limits)),
        FormatOptions::Nydus(options) => Arc::new(Nydus::new(options.clone(), limits).with_dictionary(dictionary)),
    }
}

/// What an image says of its format, beside the marker and its layers.
pub(crate) struct Sayings {
    /// Annotations of its manifest.
    pub(crate) annotations: Annotations,
    /// The history's entry for the layer that ends it; null where nothing does.
    pub(crate) history: Value,
    /// The media type of its configuration.
    pub(crate) config_type: &'static str,
}

/// Whether the target is an index that holds the plain images too.
pub(crate) const fn merges_manifests(options: &FormatOptions) -> bool {
    match options {
        FormatOptions::Estargz(_) => false,
        FormatOptions::Nydus(options) => options.merge_manifest,
    }
}

/// What an image made as `output` of the manifest `digest` says; `reference` names the source.
pub(crate) fn sayings(output: &Output, reference: &str, digest: Digest) -> Sayings {
    match &output.options {
        FormatOptions::Estargz(_) => {
            Sayings { annotations: Annotations::new(), history: Value::Null, config_type: media_type::OCI_CONFIG }
        }
        FormatOptions::Nydus(options) => Sayings {
            annotations: nydus::annotations(options, &output.format_version(), reference, digest),
            history: nydus::history(),
            config_type: if options.merge_manifest { media_type::NYDUS_CONFIG } else { media_type::OCI_CONFIG },
        },
    }
}
