//! The chunk dictionary: chunks of images that are there already. A layer refers to those that it has too, and does not
//! hold them. Spec: nydus `builder/src/core/chunk_dict.rs`.

mod build;
mod fault;

use std::collections::HashMap;
use std::fmt;

use accel_driver::Elsewhere;
use accel_image::Digest;

use crate::bootstrap::{Blob, ChunkRef};
use crate::layer::ChunkPlace;
use crate::reader::Bootstrap;

pub use build::DictionaryBuilder;
pub use fault::DictionaryFault;

/// An image whose chunks are referred to, as its last layer says it.
#[derive(Debug)]
pub struct DictionaryImage {
    /// Its bootstrap.
    pub bootstrap: Bootstrap,
    /// The files about the chunks of its blobs, by the blobs' digests, as far as its last layer has them.
    pub metas: HashMap<Digest, Vec<u8>>,
}

/// Chunks that layers may refer to. 60 bytes a chunk, and what the files about them take: 16 bytes a chunk.
pub struct ChunkDictionary {
    blobs: Vec<Blob>,
    /// Those of which something is known, in the order of their digests.
    by_digest: Vec<ChunkRef>,
}

impl ChunkDictionary {
    /// How many chunks the blobs of a dictionary may hold together.
    pub const MOST_CHUNKS: u32 = 1 << 20;

    /// The blobs with its chunks.
    pub fn blob_digests(&self) -> impl Iterator<Item = Digest> {
        self.blobs.iter().filter_map(Blob::digest)
    }

    /// The blobs, in the order in which references number them.
    pub(crate) fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// The blob with this digest.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.iter().find(|blob| blob.digest() == Some(*digest))
    }

    /// Where the chunk of `bytes` bytes with this digest is.
    pub(crate) fn find(&self, digest: &Digest, bytes: usize) -> Option<ChunkRef> {
        let at = self.by_digest.partition_point(|chunk| self.place(*chunk).digest < *digest);
        let chunk = self.by_digest.get(at)?;
        let place = self.place(*chunk);
        (place.digest == *digest && place.bytes as usize == bytes).then_some(*chunk)
    }

    fn place(&self, chunk: ChunkRef) -> &ChunkPlace {
        &self.blobs[chunk.blob()].chunks[chunk.chunk() as usize]
    }
}

impl Elsewhere for ChunkDictionary {
    fn has(&self, digest: &Digest, bytes: usize) -> bool {
        self.find(digest, bytes).is_some()
    }
}

impl fmt::Debug for ChunkDictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blobs, chunks) = (self.blobs.len(), self.by_digest.len());
        f.debug_struct("ChunkDictionary").field("blobs", &blobs).field("chunks", &chunks).finish_non_exhaustive()
    }
}
