//! Chunks: in each record of a file those of its content.

use super::record::Record;
use crate::bootstrap::v5::ALIGN;
use crate::bootstrap::{CHUNK_BYTES, CHUNK_COMPRESSED, ChunkRef};
use crate::layer::ChunkPlace;
use crate::reader::bytes::Bytes;
use crate::reader::inode::FileChunks;
use crate::reader::{Blob, FormatError, Node, tables};

const WHAT: &str = "chunks of a file";
/// What a chunk may have besides being compressed: a checksum.
const KNOWN_FLAGS: u32 = CHUNK_COMPRESSED | 0x10;

/// What records say of chunks: for each chunk one place where that is said, counted in eights. 8 bytes a chunk.
#[derive(Default)]
pub(super) struct Chunks(Vec<(ChunkRef, u32)>);

impl Chunks {
    /// Takes what a record says of chunks.
    pub(super) fn note(&mut self, record: &Record<'_>, blobs: &[Blob], chunk_bytes: u32) -> Result<(), FormatError> {
        let size = record.size()?;
        for (number, (entry, at)) in entries(record.chunks).zip((record.chunks_at..).step_by(CHUNK_BYTES)).enumerate() {
            let entry = Bytes(entry);
            let begin = number as u64 * u64::from(chunk_bytes);
            let (blob, index) = (entry.u32(WHAT, 32)?, entry.u32(WHAT, 72)?);
            if blobs.get(blob as usize).is_none_or(|blob| index >= blob.chunk_count) {
                return Err(FormatError::part(WHAT, "a chunk is of no blob"));
            }
            let expected = u64::from(chunk_bytes).min(size - begin);
            if entry.u64(WHAT, 64)? != begin || u64::from(entry.u32(WHAT, 44)?) != expected {
                return Err(FormatError::part(WHAT, "a chunk has another place or length than the file needs"));
            }
            self.0.push((ChunkRef::new(blob as u8, index), (at / ALIGN) as u32));
        }
        Ok(())
    }

    /// Whether the same is said of a chunk wherever something is said of it.
    pub(super) fn check(&mut self, at: Bytes<'_>) -> Result<(), FormatError> {
        self.0.sort_unstable();
        for pair in self.0.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let said = |(_, place): (ChunkRef, u32)| at.slice(WHAT, u64::from(place) * ALIGN, 64);
            if said(pair[0])? != said(pair[1])? {
                return Err(FormatError::part(WHAT, "different things are said of a chunk"));
            }
        }
        self.0.dedup_by_key(|(chunk, _)| *chunk);
        for (_, place) in &self.0 {
            chunk_at(at, u64::from(*place) * ALIGN)?;
        }
        self.0.shrink_to_fit();
        Ok(())
    }

    /// The digests of a record's chunks.
    pub(super) fn digests<'b>(record: &Record<'b>) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        entries(record.chunks).map(|entry| &entry[..32])
    }

    /// All chunks of blob 0, if they are there without a gap, and each begins at a block: so it is in the bootstrap of a
    /// layer.
    pub(super) fn into_layer(self, at: Bytes<'_>) -> Result<Vec<ChunkPlace>, FormatError> {
        let in_order =
            |(number, chunk): (usize, &(ChunkRef, u32))| (chunk.0.blob(), chunk.0.chunk() as usize) == (0, number);
        if !self.0.iter().enumerate().all(in_order) {
            return Err(FormatError::part(WHAT, "they are not all chunks of the layer"));
        }
        let place_of = |(_, place)| tables::chunk_place_in_blocks(WHAT, entry_at(at, u64::from(place) * ALIGN)?, false);
        self.0.into_iter().map(place_of).collect()
    }
}

fn entries(chunks: &[u8]) -> impl Iterator<Item = &[u8; CHUNK_BYTES]> {
    chunks.as_chunks().0.iter()
}

/// The chunks of a file.
pub(in crate::reader) fn file_chunks<'b>(at: Bytes<'b>, node: &Node<'_>) -> Result<FileChunks<'b>, FormatError> {
    let (begin, bytes) = (node.behind, u64::from(node.count) * CHUNK_BYTES as u64);
    at.slice(WHAT, begin, bytes)?;
    Ok(Box::new((begin..begin + bytes).step_by(CHUNK_BYTES).map(move |place| chunk_at(at, place))))
}

/// The chunk that is spoken of at `start`.
fn chunk_at(at: Bytes<'_>, start: u64) -> Result<(ChunkRef, ChunkPlace), FormatError> {
    let entry = entry_at(at, start)?;
    let place = tables::chunk_place(WHAT, entry, false)?;
    let flags = entry.u32(WHAT, 36)?;
    if flags & !KNOWN_FLAGS != 0 || (flags & CHUNK_COMPRESSED != 0) != place.is_compressed() {
        return Err(FormatError::part(WHAT, "a chunk is stored in a way that is not known"));
    }
    Ok((ChunkRef::new(entry.u32(WHAT, 32)? as u8, entry.u32(WHAT, 72)?), place))
}

fn entry_at(at: Bytes<'_>, start: u64) -> Result<Bytes<'_>, FormatError> {
    at.slice(WHAT, start, CHUNK_BYTES as u64).map(Bytes)
}
