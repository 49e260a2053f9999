//! A unit: up to 4 MiB of input, cut into members, compressed as one job.

use accel_image::Digest;

use crate::DriverError;
use crate::batches::arrange;
use crate::codec::Encoder;
use crate::repeats::Order;
use crate::stock::{Lent, Reuse};

/// The input a unit holds at most, and so the longest chunk. Part of a format's version: where a unit is full, a
/// member ends.
pub const UNIT_BYTES: usize = 4 << 20;

/// The chunks a unit holds at most: tiny ones would need far more memory than the bytes they hold.
const UNIT_CHUNKS: usize = 8192;

/// The output that a unit begins with: enough for a member that does not shrink, and for what many small ones add.
const OUTPUT_BYTES: usize = UNIT_BYTES + UNIT_BYTES / 16;

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
    /// Which member of the unit holds it; none that there is if it was left out of a layer that has batches.
    pub member: usize,
    /// Where it begins in the unit's input.
    pub input: usize,
    /// How long it is.
    pub len: usize,
    /// The SHA-256 of its bytes; zeros until the unit is compressed.
    pub digest: Digest,
    /// Whether it was cut to share its member with others like it, see [`crate::Cut::Batch`].
    pub is_batched: bool,
}

/// The input of a unit: `len` bytes of the buffer, and where members and chunks begin. Filled by a front.
#[derive(Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    len: usize,
    members: Vec<Member>,
    chunks: Vec<Chunk>,
}

/// The output of a unit: `len` bytes of the buffer.
#[derive(Default)]
pub(crate) struct Compressed {
    buffer: Vec<u8>,
    len: usize,
}

/// Input, members and chunks; once compressed, output and digests too. Its buffers return to the pool when it is
/// dropped.
pub struct Unit {
    input: Lent<Input>,
    output: Lent<Compressed>,
}

impl Reuse for Input {
    fn make() -> Self {
        Self { buffer: vec![0; UNIT_BYTES], ..Self::default() }
    }

    fn clear(&mut self) {
        self.len = 0;
        self.members.clear();
        self.chunks.clear();
    }
}

impl Reuse for Compressed {
    fn make() -> Self {
        // Zeroed by the allocator: only the pages that compressed bytes come to are ever touched.
        Self { buffer: vec![0; OUTPUT_BYTES], len: 0 }
    }

    fn clear(&mut self) {
        self.len = 0;
    }
}

impl Input {
    /// How many more bytes fit in.
    pub(crate) fn room(&self) -> usize {
        UNIT_BYTES - self.len
    }

    /// Whether no further chunk may come.
    pub(crate) fn is_full(&self) -> bool {
        self.chunks.len() >= UNIT_CHUNKS
    }

    /// How many bytes the open member has; `None` before the first.
    pub(crate) fn member_bytes(&self) -> Option<usize> {
        self.members.last().map(|member| self.len - member.input)
    }

    pub(crate) fn begin_member(&mut self) {
        self.members.push(Member { input: self.len, output: 0 });
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends a chunk to the open member; `fill` puts its bytes into place.
    pub(crate) fn chunk(
        &mut self,
        len: usize,
        is_batched: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<(), DriverError>,
    ) -> Result<usize, DriverError> {
        let start = self.len;
        fill(&mut self.buffer[start..start + len])?;
        self.len += len;
        let (member, digest) = (self.members.len() - 1, Digest::from_bytes([0; 32]));
        self.chunks.push(Chunk { member, input: start, len, digest, is_batched });
        Ok(self.chunks.len() - 1)
    }

    /// The bytes of the latest chunk.
    pub(crate) fn last_chunk(&self) -> &[u8] {
        self.chunks.last().map_or(&[], |chunk| &self.buffer[chunk.input..chunk.input + chunk.len])
    }
}

impl Unit {
    pub(crate) const fn new(input: Lent<Input>, output: Lent<Compressed>) -> Self {
        Self { input, output }
    }

    /// The bytes that went in.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        &self.input.buffer[..self.input.len]
    }

    /// The compressed bytes.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output.buffer[..self.output.len]
    }

    /// The chunks, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.input.chunks
    }

    /// The member that holds `chunk`.
    #[must_use]
    pub fn member_of(&self, chunk: &Chunk) -> Member {
        self.input.members[chunk.member]
    }

    /// The compressed bytes of member `index`; none if it was left out.
    #[must_use]
    pub fn member_output(&self, index: usize) -> &[u8] {
        let Some((member, end)) = self.member_and_next(index, |next| next.output) else { return &[] };
        &self.output()[member.output..end.unwrap_or(self.output.len)]
    }

    /// The bytes of member `index` that went in.
    #[must_use]
    pub fn member_input(&self, index: usize) -> &[u8] {
        let Some((member, end)) = self.member_and_next(index, |next| next.input) else { return &[] };
        &self.input()[member.input..end.unwrap_or(self.input.len)]
    }

    fn member_and_next(&self, index: usize, of: impl Fn(&Member) -> usize) -> Option<(Member, Option<usize>)> {
        let member = self.input.members.get(index)?;
        Some((*member, self.input.members.get(index + 1).map(of)))
    }

    /// Hashes the chunks and compresses the members. With `repeats`, each chunk is a member, and one that an earlier place
    /// of the layer has, or that is kept elsewhere, is left out; with batches, members are made of the chunks that are left.
    pub(crate) fn compress(&mut self, encoder: &mut Encoder, mut repeats: Option<Order>) -> Result<(), DriverError> {
        let Input { buffer, len, members, chunks } = &mut *self.input;
        for chunk in &mut *chunks {
            chunk.digest = Digest::of(&buffer[chunk.input..chunk.input + chunk.len]);
        }
        if let Some((repeated, most)) = repeats.as_mut().and_then(|order| order.decide(chunks)).transpose()? {
            chunks.iter_mut().for_each(|chunk| chunk.member = usize::MAX);
            (*members, *len) = arrange(buffer, chunks, &repeated, most);
            repeats = None;
        }
        let bytes = &buffer[..*len];
        for at in 0..members.len() {
            members[at].output = self.output.len;
            if repeats.as_ref().is_some_and(|order| order.is_repeat(&chunks[at].digest, chunks[at].len, at)) {
                continue;
            }
            let end = members.get(at + 1).map_or(bytes.len(), |next| next.input);
            self.output.append(&bytes[members[at].input..end], encoder)?;
        }
        Ok(())
    }
}

impl Compressed {
    /// Compresses `member` behind what is there.
    fn append(&mut self, member: &[u8], encoder: &mut Encoder) -> Result<(), DriverError> {
        // The buffer keeps its length between units, so that it is zeroed once and not for every member.
        let needed = self.len + encoder.bound(member.len());
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
        self.len += encoder.encode(member, &mut self.buffer[self.len..])?;
        Ok(())
    }
}
