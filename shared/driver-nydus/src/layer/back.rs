//! The back: gives chunks their places in the blob, and writes what ends it.

use std::sync::Arc;

use accel_driver::{Assemble, BlobWriter, Chunk, DriverError, Repeats, Unit};

use super::batch::InBatch;
use super::meta::ChunkPlace;
use super::{blobs, tail, v5};
use crate::bootstrap::{BLOCK_BYTES, Blob, ChunkRef};
use crate::compressor::Compressor;
use crate::dictionary::ChunkDictionary;
use crate::tree::Tree;
use crate::version::Version;

/// What the front says.
pub(super) enum Record {
    /// The next chunk of the contents, by its index in the unit.
    Chunk(usize),
    /// The layer's tree: the last of all records.
    Tree(Box<Tree>),
}

/// Assembles one blob. 56 bytes a chunk that is not repeated, and 4 a chunk.
pub(super) struct Back {
    version: Version,
    repeats: Repeats,
    dictionary: Option<Arc<ChunkDictionary>>,
    compressor: Compressor,
    chunk_bytes: u32,
    chunks: Vec<ChunkPlace>,
    /// For each chunk in the order of the contents the one that holds its bytes.
    refs: Vec<ChunkRef>,
    /// Where the next chunk lies when all are uncompressed.
    uncompressed: u64,
    /// Where the member that was written last begins in the blob.
    member: u64,
    tree: Option<Box<Tree>>,
}

impl Back {
    pub(super) const fn new(
        version: Version,
        compressor: Compressor,
        chunk_bytes: u32,
        repeats: Repeats,
        dictionary: Option<Arc<ChunkDictionary>>,
    ) -> Self {
        Self {
            version,
            repeats,
            dictionary,
            compressor,
            chunk_bytes,
            chunks: Vec::new(),
            refs: Vec::new(),
            uncompressed: 0,
            member: 0,
            tree: None,
        }
    }

    fn chunk(&mut self, unit: &Unit, chunk: &Chunk, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        let known = self.dictionary.as_ref().and_then(|dictionary| dictionary.find(&chunk.digest, chunk.len));
        let chunk = match (known, self.repeats.written(&chunk.digest)) {
            (Some(known), _) => blobs::other_chunk(known),
            (None, Some(number)) => blobs::own_chunk(number),
            (None, None) => blobs::own_chunk(self.new_chunk(unit, chunk, blob)?),
        };
        self.refs.push(chunk);
        Ok(())
    }

    fn new_chunk(&mut self, unit: &Unit, chunk: &Chunk, blob: &mut BlobWriter<'_>) -> Result<u32, DriverError> {
        let stored = unit.member_output(chunk.member);
        // Left out although nothing before it is the same: two chunks whose digests agree in their first half.
        if stored.is_empty() {
            return Err(DriverError::Codec);
        }
        let place = chunk.input - unit.member_of(chunk).input;
        if place == 0 {
            self.member = blob.offset();
            blob.write(stored)?;
        }
        let is_compressed = || stored.len() < unit.member_input(chunk.member).len();
        let number = self.chunks.len() as u32; // the front counts them
        self.chunks.push(ChunkPlace {
            digest: chunk.digest,
            offset: self.member,
            stored_bytes: stored.len() as u32,
            bytes: chunk.len as u32,
            block: (self.uncompressed / BLOCK_BYTES) as u32,
            batch: chunk.is_batched.then(|| InBatch::new(place as u32, is_compressed())),
        });
        self.uncompressed += (chunk.len as u64).next_multiple_of(BLOCK_BYTES);
        self.repeats.write(&chunk.digest, number);
        Ok(number)
    }
}

impl Assemble for Back {
    type Record = Record;
    type Summary = ();

    fn absorb(&mut self, records: Vec<Record>, unit: &Unit, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        for record in records {
            match record {
                Record::Chunk(index) => self.chunk(unit, &unit.chunks()[index], blob)?,
                Record::Tree(tree) => self.tree = Some(tree),
            }
        }
        Ok(())
    }

    fn finish(mut self, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        let tree = self.tree.take().ok_or(DriverError::Codec)?; // the front always hands one over
        self.repeats = Repeats::default(); // the memory that it held is needed for what follows
        let compressed_bytes = blob.offset();
        let own = Blob::of_layer(self.version, self.compressor, self.chunks, compressed_bytes, self.uncompressed);
        match self.version {
            Version::V5 => v5::write(blob, own, &tree, self.refs, self.chunk_bytes),
            Version::V6 => {
                let (compressor, chunk_bytes, dictionary) = (self.compressor, self.chunk_bytes, self.dictionary);
                let blobs = blobs::list(own, dictionary.as_deref(), &tree, &mut self.refs, chunk_bytes);
                tail::write(blob, blobs, &tree, &self.refs, (compressor, chunk_bytes))
            }
        }
    }
}
