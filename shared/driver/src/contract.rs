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
    /// [`DriverError::Unrepresentable`] if the format cannot hold the layer; all others fail the attempt.
    fn convert(&self, pool: &Pool, source: &mut dyn Source, output: &mut dyn Output) -> Result<Converted, DriverError>;

    /// How the converted layers of an image become one file system, for formats that need a layer which says so.
    fn merge(&self) -> Option<&dyn Merge> {
        None
    }
}

/// A converted layer of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The digest of the source layer: errors name it.
    pub source: Digest,
    /// The converted blob's digest.
    pub digest: Digest,
    /// The converted blob's size in bytes.
    pub size: u64,
}

/// Reads converted blobs back from where they were pushed.
pub trait Blobs {
    /// The `len` bytes from `from` on of the blob of `part`: the reader yields exactly so many, or fails. Each call may
    /// be a request.
    ///
    /// # Errors
    /// They cannot be had.
    fn read(&mut self, part: &Part, from: u64, len: u64) -> io::Result<Box<dyn Read + '_>>;
}

/// The layer that ends an image and says what the file system of all its layers is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The layer's digest.
    pub digest: Digest,
    /// The layer's size in bytes.
    pub size: u64,
    /// The digest of what it decompresses to.
    pub diff_id: Digest,
    /// Its media type.
    pub media_type: &'static str,
    /// Annotations of its descriptor.
    pub annotations: Annotations,
    /// Blobs to which files refer although no part is one of them: the image's manifest has to list them, too.
    pub other_blobs: Vec<Digest>,
}

/// A format whose images end with a layer about all others.
pub trait Merge: Send + Sync {
    /// Writes that layer for the converted layers `parts`, lowest first; a layer that the image has twice is twice in the
    /// list. Synchronous: call it on a thread that may block.
    ///
    /// # Errors
    /// [`DriverError::Unmergeable`] if the format cannot hold the image; all others fail the attempt.
    fn merge(&self, parts: &[Part], blobs: &mut dyn Blobs, output: &mut dyn Output) -> Result<Merged, DriverError>;
}
