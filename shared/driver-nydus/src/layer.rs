//! The driver: one pass through the layer's tar writes the blob.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use accel_domain::NydusOptions;
use accel_driver::{
    Blobs, Converted, Driver, DriverError, Elsewhere, Finished, Merge, Merged, Output, Part, Pool, Repeats, Source,
    Written, write_layer,
};
use accel_image::{Annotations, media_type};
use accel_stream::{LayerSums, Limits};

use crate::compressor::Compressor;
use crate::dictionary::ChunkDictionary;
use crate::merge;
use crate::names::BLOB;
use crate::version::Version;

mod back;
pub(crate) mod batch;
mod blobs;
mod front;
pub(crate) mod meta;
mod stored;
mod tail;
mod v5;

mod zran;

pub use batch::InBatch;
pub(crate) use meta::ChunkPlace;

use back::Back;
use front::Front;
use stored::Stored;

/// The Nydus driver.
#[derive(Debug, Clone)]
pub struct Nydus {
    options: NydusOptions,
    limits: Limits,
    dictionary: Option<Arc<ChunkDictionary>>,
}

impl Nydus {
    /// The driver for `options`, which were checked, with these limits for its sources.
    #[must_use]
    pub const fn new(options: NydusOptions, limits: Limits) -> Self {
        Self { options, limits, dictionary: None }
    }

    /// The same, with layers that refer to the chunks of `dictionary`, which was made for these options. Those of RAFS v5
    /// refer to none.
    #[must_use]
    pub fn with_dictionary(self, dictionary: Option<Arc<ChunkDictionary>>) -> Self {
        let dictionary = dictionary.filter(|_| Version::of(&self.options) == Version::V6);
        Self { dictionary, ..self }
    }

    /// At most 4 MiB.
    const fn chunk_bytes(&self) -> u32 {
        self.options.chunk_size.0 as u32
    }
}

impl Driver for Nydus {
    fn convert(&self, pool: &Pool, source: &mut dyn Source, output: &mut dyn Output) -> Result<Converted, DriverError> {
        if self.options.oci_ref {
            return zran::convert(pool, self.chunk_bytes(), self.limits, source, output);
        }
        let dictionary = self.dictionary.clone();
        let repeats = Repeats::beside(dictionary.clone().map(|dictionary| dictionary as Arc<dyn Elsewhere>));
        let (compressor, chunk_bytes) = (Compressor::from(self.options.compressor), self.chunk_bytes());
        let batch_bytes = self.options.batch_size.0 as usize; // at most a chunk
        let back = Back::new(Version::of(&self.options), compressor, chunk_bytes, repeats.clone(), dictionary);
        let written: Written<LayerSums, (), Infallible> =
            write_layer(pool, compressor.codec(), back, output, |sink| {
                sink.leave_out(repeats);
                if batch_bytes > 0 {
                    sink.batch(batch_bytes);
                }
                Front::new(Stored(sink), (chunk_bytes, batch_bytes as u32), self.limits)
                    .run(source, self.limits)
                    .map(ControlFlow::Continue)
            })?;
        match written {
            ControlFlow::Continue((source, blob)) => Ok(converted(source, &blob)),
            ControlFlow::Break(never) => match never {},
        }
    }

    fn merge(&self) -> Option<&dyn Merge> {
        Some(self)
    }
}

impl Merge for Nydus {
    fn merge(&self, parts: &[Part], blobs: &mut dyn Blobs, output: &mut dyn Output) -> Result<Merged, DriverError> {
        let image = merge::Options {
            version: Version::of(&self.options),
            compressor: if self.options.oci_ref { Compressor::Gzip } else { self.options.compressor.into() },
            chunk_bytes: self.chunk_bytes(),
            prefetch: &self.options.prefetch,
            limits: self.limits,
            dictionary: self.dictionary.as_deref(),
        };
        merge::merge(&image, parts, blobs, output)
    }
}

/// A blob counts as uncompressed: nobody unpacks it.
fn converted(source: LayerSums, blob: &Finished<()>) -> Converted {
    let annotations = [(BLOB.to_owned(), "true".to_owned())].into_iter().collect::<Annotations>();
    Converted {
        digest: blob.digest,
        size: blob.size,
        diff_id: blob.digest,
        media_type: media_type::NYDUS_BLOB,
        annotations,
        source,
    }
}
