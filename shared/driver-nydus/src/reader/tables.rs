//! The tables of blobs and chunks.

use accel_image::Digest;

use super::bytes::Bytes;
use super::fault::FormatError;
use crate::bootstrap::{self, BLOB_BYTES, BLOCK_BYTES, CHUNK_BYTES, ID_BYTES, MOST_BLOBS, MOST_CHUNKS, MetaPlace};
use crate::compressor::Compressor;
use crate::layer::ChunkPlace;

/// A blob that a bootstrap refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest; in a layer's own bootstrap, which cannot know it, zeros.
    pub id: Digest,
    /// How many chunks it holds.
    pub chunk_count: u32,
    /// The length of everything in it that is not the bootstrap.
    pub compressed_size: u64,
    /// The length of its chunks when uncompressed, each padded to 4 KiB.
    pub uncompressed_size: u64,
    pub(crate) compressor: Compressor,
    pub(crate) features: u32,
    pub(crate) meta: MetaPlace,
}

impl Blob {
    pub(super) fn table(at: Bytes<'_>, offset: u64, len: u32) -> Result<Vec<Self>, FormatError> {
        let what = "table of blobs";
        let table = at.slice(what, offset, len.into())?;
        let (entries, rest) = table.as_chunks::<BLOB_BYTES>();
        if !rest.is_empty() || entries.len() > MOST_BLOBS {
            return Err(FormatError::part(what, "its length is wrong"));
        }
        entries.iter().enumerate().map(|(number, entry)| Self::parse(Bytes(entry), number)).collect()
    }

    fn parse(at: Bytes<'_>, number: usize) -> Result<Self, FormatError> {
        let what = "table of blobs";
        if at.u32(what, 64)? as usize != number {
            return Err(FormatError::part(what, "a number is not that of its place"));
        }
        let id = id(at.slice(what, 0, ID_BYTES as u64)?).ok_or(FormatError::part(what, "a name is no digest"))?;
        let compressor = Compressor::of_number(at.u32(what, 76)?);
        let chunk_count = at.u32(what, 72)?;
        if chunk_count > MOST_CHUNKS {
            return Err(FormatError::part(what, "a blob has too many chunks"));
        }
        let meta = MetaPlace {
            compressor: at.u32(what, 108)?,
            offset: at.u64(what, 112)?,
            stored_bytes: at.u64(what, 120)?,
            bytes: at.u64(what, 128)?,
        };
        Ok(Self {
            id,
            chunk_count,
            compressed_size: at.u64(what, 88)?,
            uncompressed_size: at.u64(what, 96)?,
            compressor: compressor.ok_or(FormatError::part(what, "a compressor is not known"))?,
            features: at.u32(what, 84)?,
            meta,
        })
    }
}

fn id(text: &[u8]) -> Option<Digest> {
    if text == bootstrap::UNKNOWN_ID {
        return Some(Digest::from_bytes([0; 32]));
    }
    format!("sha256:{}", std::str::from_utf8(text).ok()?).parse().ok()
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Its blob, by its place in [`super::Bootstrap::blobs`].
    pub blob: u32,
    /// Its number in the blob.
    pub index: u32,
    /// Of its uncompressed bytes.
    pub digest: Digest,
    /// Where it begins in the blob.
    pub compressed_offset: u64,
    /// How long it is there; as long as uncompressed if it is stored as it is.
    pub compressed_size: u32,
    /// How long it is uncompressed.
    pub uncompressed_size: u32,
}

/// The table of chunks: where it lies, and which row has which chunk. 8 bytes a chunk.
pub(super) struct ChunkTable {
    offset: u64,
    rows: Vec<(bootstrap::ChunkRef, u32)>,
}

impl ChunkTable {
    pub(super) fn parse(at: Bytes<'_>, offset: u64, len: u64, blobs: &[Blob]) -> Result<Self, FormatError> {
        let what = "table of chunks";
        let (entries, rest) = at.slice(what, offset, len)?.as_chunks::<CHUNK_BYTES>();
        if !rest.is_empty() || u32::try_from(entries.len()).is_err() {
            return Err(FormatError::part(what, "its length is wrong"));
        }
        let mut rows = Vec::with_capacity(entries.len());
        for (row, entry) in entries.iter().enumerate() {
            let (blob, index) = (Bytes(entry).u32(what, 32)?, Bytes(entry).u32(what, 72)?);
            if blobs.get(blob as usize).is_none_or(|blob| index >= blob.chunk_count) {
                return Err(FormatError::part(what, "a chunk is of no blob"));
            }
            rows.push((bootstrap::ChunkRef::new(blob as u8, index), row as u32));
        }
        rows.sort_unstable();
        if rows.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(FormatError::part(what, "it has a chunk twice"));
        }
        Ok(Self { offset, rows })
    }

    /// The place of a chunk that a file refers to.
    pub(super) fn find(&self, at: Bytes<'_>, chunk: bootstrap::ChunkRef) -> Result<ChunkPlace, FormatError> {
        let what = "table of chunks";
        let missing = FormatError::part(what, "a chunk of a file is not in it");
        let found = self.rows.binary_search_by_key(&chunk, |row| row.0).map_err(|_| missing)?;
        self.place(at, self.rows[found].1)
    }

    /// All chunks of blob 0, if they are there without a gap: so it is in the bootstrap of a layer.
    pub(super) fn of_layer(&self, at: Bytes<'_>) -> Result<Vec<ChunkPlace>, FormatError> {
        let is_whole = self
            .rows
            .iter()
            .enumerate()
            .all(|(number, (chunk, _))| chunk.blob() == 0 && chunk.chunk() as usize == number);
        if !is_whole {
            return Err(FormatError::part("table of chunks", "it does not have all chunks of the layer"));
        }
        self.rows.iter().map(|(_, row)| self.place(at, *row)).collect()
    }

    fn place(&self, at: Bytes<'_>, row: u32) -> Result<ChunkPlace, FormatError> {
        let what = "table of chunks";
        let entry = Bytes(at.slice(what, self.offset + u64::from(row) * CHUNK_BYTES as u64, CHUNK_BYTES as u64)?);
        let mut digest = [0; 32];
        digest.copy_from_slice(entry.slice(what, 0, 32)?);
        let uncompressed = entry.u64(what, 56)?;
        let place = ChunkPlace {
            digest: Digest::from_bytes(digest),
            offset: entry.u64(what, 48)?,
            stored_bytes: entry.u32(what, 40)?,
            bytes: entry.u32(what, 44)?,
            block: u32::try_from(uncompressed / BLOCK_BYTES)
                .map_err(|_| FormatError::part(what, "an offset is too large"))?,
        };
        if uncompressed % BLOCK_BYTES != 0 || place.bytes == 0 || place.stored_bytes == 0 || place.offset >= 1 << 40 {
            return Err(FormatError::part(what, "a chunk has an impossible place or length"));
        }
        Ok(place)
    }
}
