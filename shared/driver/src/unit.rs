//! A unit: up to 4 MiB of input, cut into members, compressed as one job.

use std::sync::Arc;

use accel_image::Digest;
use libdeflater::{CompressionLvl, Compressor};

use crate::DriverError;
use crate::units::Units;

/// The input a unit holds at most, and so the longest chunk. Part of a format's version: where a unit is full, a
/// member ends.
pub const UNIT_BYTES: usize = 4 << 20;

/// The output that a unit begins with: enough for a member that does not shrink, and for what many small ones add.
const OUTPUT_BYTES: usize = UNIT_BYTES + UNIT_BYTES / 16;

/// How members are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One gzip member each, by libdeflate at a level of 1 to 12.
    Gzip {
        /// The level.
        level: u8,
    },
}

/// A part of a unit that is decompressed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where it begins in the unit's input.
    pub input: usize,
    /// Where its compressed bytes begin in the unit's output.
    pub output: usize,
}

/// A part of a member that readers verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Which member of the unit holds it.
    pub member: usize,
    /// Where it begins in the unit's input.
    pub input: usize,
    /// How long it is.
    pub len: usize,
    /// The SHA-256 of its bytes; zeros until the unit is compressed.
    pub digest: Digest,
}

/// Input, members and chunks; once compressed, output and digests too. Returns to its pool when dropped.
pub struct Unit {
    buffers: Buffers,
    home: Arc<Units>,
    holder: u64,
}

/// What a unit holds, kept by the pool between two uses.
#[derive(Default)]
pub(crate) struct Buffers {
    input: Vec<u8>,
    members: Vec<Member>,
    chunks: Vec<Chunk>,
    output: Vec<u8>,
    output_len: usize,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        // Zeroed by the allocator: only the pages that compressed bytes come to are ever touched.
        Self { input: Vec::with_capacity(UNIT_BYTES), output: vec![0; OUTPUT_BYTES], ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.input.clear();
        self.members.clear();
        self.chunks.clear();
        self.output_len = 0;
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffers), self.holder);
    }
}

impl Unit {
    pub(crate) const fn new(buffers: Buffers, home: Arc<Units>, holder: u64) -> Self {
        Self { buffers, home, holder }
    }

    /// The bytes that went in.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.buffers.input
    }

    /// The compressed bytes.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.buffers.output[..self.buffers.output_len]
    }

    /// The chunks, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.buffers.chunks
    }

    /// The member that holds `chunk`.
    #[must_use]
    pub fn member_of(&self, chunk: &Chunk) -> Member {
        self.buffers.members[chunk.member]
    }

    /// How many more bytes fit in.
    pub(crate) fn room(&self) -> usize {
        UNIT_BYTES - self.buffers.input.len()
    }

    /// How many bytes the open member has; `None` before the first.
    pub(crate) fn member_bytes(&self) -> Option<usize> {
        self.buffers.members.last().map(|member| self.buffers.input.len() - member.input)
    }

    pub(crate) fn begin_member(&mut self) {
        let input = self.buffers.input.len();
        self.buffers.members.push(Member { input, output: 0 });
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.buffers.input.extend_from_slice(bytes);
    }

    /// Appends a chunk to the open member; `fill` puts its bytes into place.
    pub(crate) fn chunk(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), DriverError>,
    ) -> Result<usize, DriverError> {
        let Buffers { input, members, chunks, .. } = &mut self.buffers;
        let start = input.len();
        input.resize(start + len, 0);
        fill(&mut input[start..])?;
        chunks.push(Chunk { member: members.len() - 1, input: start, len, digest: Digest::from_bytes([0; 32]) });
        Ok(chunks.len() - 1)
    }

    /// The bytes of the latest chunk.
    pub(crate) fn last_chunk(&self) -> &[u8] {
        self.buffers.chunks.last().map_or(&[], |chunk| &self.buffers.input[chunk.input..chunk.input + chunk.len])
    }

    /// Hashes the chunks and compresses the members.
    pub(crate) fn compress(&mut self, encoder: &mut Encoder) -> Result<(), DriverError> {
        self.buffers.compress(encoder)
    }
}

impl Buffers {
    fn compress(&mut self, encoder: &mut Encoder) -> Result<(), DriverError> {
        for chunk in &mut self.chunks {
            chunk.digest = Digest::of(&self.input[chunk.input..chunk.input + chunk.len]);
        }
        for at in 0..self.members.len() {
            let end = self.members.get(at + 1).map_or(self.input.len(), |next| next.input);
            self.members[at].output = self.output_len;
            let input = &self.input[self.members[at].input..end];
            // The buffer keeps its length between units, so that it is zeroed once and not for every member.
            let needed = self.output_len + encoder.bound(input.len());
            if self.output.len() < needed {
                self.output.resize(needed, 0);
            }
            self.output_len += encoder.encode(input, &mut self.output[self.output_len..])?;
        }
        Ok(())
    }
}

/// A compressor with its level, kept by a thread from one unit to the next.
pub(crate) struct Encoder {
    codec: Codec,
    gzip: Compressor,
}

impl Encoder {
    pub(crate) fn new(codec: Codec) -> Self {
        let Codec::Gzip { level } = codec;
        let level = CompressionLvl::new(i32::from(level)).unwrap_or_default();
        Self { codec, gzip: Compressor::new(level) }
    }

    /// The encoder for `codec`: this one if it fits.
    pub(crate) fn for_codec(&mut self, codec: Codec) -> &mut Self {
        if self.codec != codec {
            *self = Self::new(codec);
        }
        self
    }

    fn bound(&mut self, input: usize) -> usize {
        self.gzip.gzip_compress_bound(input)
    }

    fn encode(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize, DriverError> {
        self.gzip.gzip_compress(input, output).map_err(|_| DriverError::Codec)
    }
}
