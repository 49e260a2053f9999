//! The tables of blobs and chunks.

use std::collections::HashSet;

use accel_image::Digest;

use super::bytes::Bytes;
use super::fault::FormatError;
use crate::bootstrap::{
    self, BLOB_BYTES, BLOCK_BYTES, CHUNK_BYTES, CHUNK_COMPRESSED, CHUNK_IN_BATCH, ID_BYTES, MOST_BLOBS, MOST_CHUNKS,
    MetaPlace, feature,
};
use crate::compressor::Compressor;
use crate::layer::{ChunkPlace, InBatch};

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
    /// Where the blob is a layer of the source, the blob that says where chunks lie in it: its digest. Only in the bootstrap of
    /// an image.
    pub index: Option<Digest>,
    pub(crate) compressor: Compressor,
    pub(crate) features: u32,
    pub(crate) meta: MetaPlace,
}

impl Blob {
    /// Whether small chunks of it are stored together, in batches.
    #[must_use]
    pub const fn has_batches(&self) -> bool {
        self.features & feature::BATCH != 0
    }

    /// Whether it is the blob that the bootstrap, a layer's own, stands in, or the layer that this is an index into.
    pub(crate) fn is_own(&self) -> bool {
        self.id == Digest::from_bytes([0; 32]) || self.is_original()
    }

    /// Whether it is a layer of the source, whose chunks another blob tells.
    pub(crate) const fn is_original(&self) -> bool {
        self.features & feature::ORIGINAL == feature::ORIGINAL
    }

    pub(super) fn table(at: Bytes<'_>, offset: u64, len: u32) -> Result<Vec<Self>, FormatError> {
        let what = "table of blobs";
        let table = at.slice(what, offset, len.into())?;
        let (entries, rest) = table.as_chunks::<BLOB_BYTES>();
        if !rest.is_empty() || entries.len() > MOST_BLOBS {
            return Err(FormatError::part(what, "its length is wrong"));
        }
        let blobs = entries.iter().enumerate().map(|(number, entry)| Self::parse(Bytes(entry), number));
        distinct(blobs.collect::<Result<_, _>>()?)
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
        let features = at.u32(what, 84)?;
        let has_index = features & (feature::ORIGINAL | feature::INLINED_BOOTSTRAP) == feature::ORIGINAL;
        let mut index = [0; 32];
        index.copy_from_slice(at.slice(what, 168, 32)?);
        Ok(Self {
            id,
            index: has_index.then(|| Digest::from_bytes(index)),
            chunk_count,
            compressed_size: at.u64(what, 88)?,
            uncompressed_size: at.u64(what, 96)?,
            compressor: compressor.ok_or(FormatError::part(what, "a compressor is not known"))?,
            features,
            meta,
        })
    }
}

/// Blobs, if each has a name of its own: by that it is found.
pub(super) fn distinct(blobs: Vec<Blob>) -> Result<Vec<Blob>, FormatError> {
    let names: HashSet<Digest> = blobs.iter().map(|blob| blob.id).collect();
    if names.len() < blobs.len() {
        return Err(FormatError::part("table of blobs", "it has a blob twice"));
    }
    Ok(blobs)
}

/// The digest that a blob's name is.
pub(super) fn id(text: &[u8]) -> Option<Digest> {
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
    /// Where it, or the batch that it is in, begins in the blob.
    pub compressed_offset: u64,
    /// How long it or the batch is there; as long as uncompressed if it is stored as it is. 0 of a chunk in a batch whose
    /// place the bootstrap does not say, as other tools leave it.
    pub compressed_size: u32,
    /// How long it is uncompressed.
    pub uncompressed_size: u32,
    /// Its place in a batch, if it is in one.
    pub batch: Option<InBatch>,
}

/// The table of chunks, in the order of blobs and numbers. 60 bytes a chunk.
#[derive(Default)]
pub(super) struct ChunkTable {
    refs: Vec<bootstrap::ChunkRef>,
    places: Vec<ChunkPlace>,
}

impl ChunkTable {
    pub(super) fn parse(at: Bytes<'_>, offset: u64, len: u64, blobs: &[Blob]) -> Result<Self, FormatError> {
        let (entries, rest) = at.slice(TABLE, offset, len)?.as_chunks::<CHUNK_BYTES>();
        if !rest.is_empty() || u32::try_from(entries.len()).is_err() {
            return Err(FormatError::part(TABLE, "its length is wrong"));
        }
        let chunk_of = |entry: &[u8; CHUNK_BYTES]| {
            let (blob, index) = (Bytes(entry).u32(TABLE, 32)?, Bytes(entry).u32(TABLE, 72)?);
            match blobs.get(blob as usize) {
                Some(known) if index < known.chunk_count => Ok(bootstrap::ChunkRef::new(blob as u8, index)),
                _ => Err(FormatError::part(TABLE, "a chunk is of no blob")),
            }
        };
        let mut rows = Vec::with_capacity(entries.len());
        for (row, entry) in entries.iter().enumerate() {
            rows.push((chunk_of(entry)?, row as u32));
        }
        rows.sort_unstable();
        if rows.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(FormatError::part(TABLE, "it has a chunk twice"));
        }
        let place = |(chunk, row): &(bootstrap::ChunkRef, u32)| {
            let has_batches = blobs.get(chunk.blob()).is_some_and(Blob::has_batches);
            let is_original = blobs.get(chunk.blob()).is_some_and(Blob::is_original);
            place_in_table(Bytes(&entries[*row as usize]), has_batches, is_original)
        };
        let places = rows.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { refs: rows.into_iter().map(|(chunk, _)| chunk).collect(), places })
    }

    /// The place of a chunk that a file refers to.
    pub(super) fn find(&self, chunk: bootstrap::ChunkRef) -> Result<ChunkPlace, FormatError> {
        match self.refs.binary_search(&chunk) {
            Ok(at) => Ok(self.places[at]),
            Err(_) => Err(FormatError::part(TABLE, "a chunk of a file is not in it")),
        }
    }

    /// All chunks of blob 0, if they are there without a gap: so it is in the bootstrap of a layer. Others are those of the
    /// chunk dictionary.
    pub(super) fn into_layer(mut self, is_original: bool) -> Result<Vec<ChunkPlace>, FormatError> {
        self.places.truncate(self.refs.partition_point(|chunk| chunk.blob() == 0));
        let in_order = |(number, chunk): (usize, &bootstrap::ChunkRef)| chunk.chunk() as usize == number;
        if !self.refs[..self.places.len()].iter().enumerate().all(in_order) {
            return Err(FormatError::part(TABLE, "it does not have all chunks of the layer"));
        }
        if !is_original && self.places.iter().any(|place| place.stored_bytes == 0) {
            return Err(FormatError::part(TABLE, "it does not say where a chunk is"));
        }
        Ok(self.places)
    }

    /// All that it lists.
    pub(super) fn into_listed(self) -> impl Iterator<Item = (bootstrap::ChunkRef, ChunkPlace)> {
        self.refs.into_iter().zip(self.places)
    }
}

const TABLE: &str = "table of chunks";

/// What the table says of a chunk of a blob that may have batches, or be an original layer: there several chunks may lie in one
/// deflate block, and take nothing of their own.
fn place_in_table(entry: Bytes<'_>, has_batches: bool, is_original: bool) -> Result<ChunkPlace, FormatError> {
    let flags = entry.u32(TABLE, 36)?;
    let place = chunk_place_in_blocks(TABLE, entry, has_batches || is_original)?;
    if flags & CHUNK_IN_BATCH == 0 {
        return Ok(place);
    }
    let offset = entry.u32(TABLE, 76)?;
    let end = u64::from(offset) + u64::from(place.bytes);
    if !has_batches || place.stored_bytes == 0 || end > u64::from(InBatch::MOST) {
        return Err(FormatError::part(TABLE, "a chunk has an impossible place in a batch"));
    }
    Ok(ChunkPlace { batch: Some(InBatch::new(offset, flags & CHUNK_COMPRESSED != 0)), ..place })
}

/// What an entry says of a chunk but for its batch; `what` has the entry. It must say where the chunk is, unless that
/// `may_be_unsaid`.
pub(super) fn chunk_place(
    what: &'static str,
    entry: Bytes<'_>,
    may_be_unsaid: bool,
) -> Result<ChunkPlace, FormatError> {
    let mut digest = [0; 32];
    digest.copy_from_slice(entry.slice(what, 0, 32)?);
    let block = u32::try_from(entry.u64(what, 56)? / BLOCK_BYTES);
    let place = ChunkPlace {
        digest: Digest::from_bytes(digest),
        offset: entry.u64(what, 48)?,
        stored_bytes: entry.u32(what, 40)?,
        bytes: entry.u32(what, 44)?,
        block: block.map_err(|_| FormatError::part(what, "an offset is too large"))?,
        batch: None,
    };
    let is_unsaid = place.stored_bytes == 0 && !may_be_unsaid;
    if place.bytes == 0 || is_unsaid || place.offset >= 1 << 40 {
        return Err(FormatError::part(what, "a chunk has an impossible place or length"));
    }
    Ok(place)
}

/// The same of a chunk that begins at a block when uncompressed.
pub(super) fn chunk_place_in_blocks(
    what: &'static str,
    entry: Bytes<'_>,
    may_be_unsaid: bool,
) -> Result<ChunkPlace, FormatError> {
    if entry.u64(what, 56)? % BLOCK_BYTES != 0 {
        return Err(FormatError::part(what, "a chunk does not begin at a block"));
    }
    chunk_place(what, entry, may_be_unsaid)
}
