//! The back: gives chunks their places in the blob, and writes what ends it.

use accel_driver::{Assemble, BlobWriter, Chunk, DriverError, Repeats, Unit};

use super::batch::InBatch;
use super::meta::ChunkPlace;
use super::{tail, v5};
use crate::bootstrap::{BLOCK_BYTES, Blob, ChunkRef};
use crate::compressor::Compressor;
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
    pub(super) const fn new(version: Version, compressor: Compressor, chunk_bytes: u32, repeats: Repeats) -> Self {
        Self {
            version,
            repeats,
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
        let number = match self.repeats.written(&chunk.digest) {
            Some(number) => number,
            None => self.new_chunk(unit, chunk, blob)?,
        };
        self.refs.push(ChunkRef::new(0, number));
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
        let mut layer = Blob::of_layer(self.version, self.compressor, self.chunks, compressed_bytes, self.uncompressed);
        match self.version {
            Version::V5 => v5::write(blob, layer, &tree, self.refs, self.chunk_bytes),
            Version::V6 => tail::write(blob, &mut layer, &tree, &self.refs, self.chunk_bytes),
        }
    }
}
