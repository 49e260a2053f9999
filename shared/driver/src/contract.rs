//! The driver trait: what the pipeline asks of a format.

use std::io::{self, Read, Write};

use accel_image::{Annotations, Digest};
use accel_stream::{LayerSums, StreamError};

use crate::{DriverError, Pool};

/// The source layer as it lies in its registry.
pub trait Source {
    /// Reads the blob from its first byte. Each call is a new download; a reader fails at its end unless the bytes
    /// were those of the blob's digest.
    ///
    /// # Errors
    /// The blob cannot be opened.
    fn open(&mut self) -> Result<Box<dyn Read + Send>, StreamError>;
}

/// Where the converted blob goes.
pub trait Output: Write + Send {
    /// What was written so far is void: the blob begins again.
    ///
    /// # Errors
    /// No new upload could be begun.
    fn restart(&mut self) -> io::Result<()>;
}

/// A converted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of what it decompresses to.
    pub diff_id: Digest,
    /// Its media type.
    pub media_type: &'static str,
    /// Annotations of its descriptor.
    pub annotations: Annotations,
    /// What the source turned out to be: for its size, digest and diff id to be compared with what was promised.
    pub source: LayerSums,
}

/// A format.
pub trait Driver: Send + Sync {
    /// Converts one layer. Synchronous: call it on a thread that may block.
    ///
    /// # Errors
    /// [`DriverError::Unrepresentable`] if the layer has to stay as it is; all others fail the attempt.
    fn convert(&self, pool: &Pool, source: &mut dyn Source, output: &mut dyn Output) -> Result<Converted, DriverError>;
}
