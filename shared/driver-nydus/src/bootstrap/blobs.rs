//! Blobs and chunks, as a bootstrap refers to them.

use std::sync::Arc;

use accel_driver::Part;
use accel_image::Digest;
use accel_stream::LayerSums;

use super::layout::feature;
use crate::compressor::Compressor;
use crate::layer::ChunkPlace;
use crate::layer::batch::has_batches;
use crate::tree::{Body, Inode};
use crate::version::Version;

/// The length of a blob's name: a digest's hexadecimal digits.
pub(crate) const ID_BYTES: usize = 64;
/// What a layer's own bootstrap calls the layer's blob, whose digest it cannot know.
pub(crate) const UNKNOWN_ID: [u8; ID_BYTES] = [b'x'; ID_BYTES];

/// What blobs have whose only metadata are the bootstrap.
const V5_FEATURES: u32 = feature::HAS_TAR_HEADER | feature::CAP_TAR_TOC;
pub(crate) const V6_FEATURES: u32 = V5_FEATURES | feature::ALIGNED | feature::INLINED_CHUNK_DIGEST | feature::HAS_TOC;
/// What blobs have besides in which there are batches.
const BATCH_FEATURES: u32 = feature::BATCH | feature::CHUNK_INFO_V2;

/// A chunk, by its blob's number in the image and its own in the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChunkRef(u32);

impl ChunkRef {
    /// The caller knows that `blob` has 8 bits and `chunk` 24.
    pub(crate) const fn new(blob: u8, chunk: u32) -> Self {
        Self((blob as u32) << 24 | (chunk & 0xff_ffff))
    }

    pub(crate) const fn blob(self) -> usize {
        (self.0 >> 24) as usize
    }

    pub(crate) const fn chunk(self) -> u32 {
        self.0 & 0xff_ffff
    }
}

/// The chunks of a file, which are some of `refs`; none of anything else.
pub(super) fn chunks_of<'r>(inode: &Inode, refs: &'r [ChunkRef], chunk_bytes: u32) -> &'r [ChunkRef] {
    match inode.body {
        Body::File { size, first } => &refs[first as usize..][..size.div_ceil(u64::from(chunk_bytes)) as usize],
        _ => &[],
    }
}

/// Where `blob.meta` lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MetaPlace {
    /// The number of its compressor.
    pub(crate) compressor: u32,
    pub(crate) offset: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) bytes: u64,
}

/// A blob with chunks.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) id: [u8; ID_BYTES],
    pub(crate) compressor: Compressor,
    pub(crate) features: u32,
    /// In the order of their numbers. Of a blob of the chunk dictionary, whose chunks are not all known, those that are not
    /// say nothing.
    pub(crate) chunks: Arc<Vec<ChunkPlace>>,
    /// The length of all chunks as they are stored.
    pub(crate) data_bytes: u64,
    /// The length of everything before the bootstrap.
    pub(crate) compressed_bytes: u64,
    /// The length of all chunks uncompressed, each padded to a block.
    pub(crate) uncompressed_bytes: u64,
    pub(crate) meta: MetaPlace,
    pub(crate) meta_file: MetaFile,
    /// In an image, if the blob is an original layer: the blob that is the index into it.
    pub(crate) index: Option<IndexBlob>,
}

/// Where the file about a blob's chunks comes from that the layer with an image's bootstrap has.
#[derive(Debug, Clone)]
pub(crate) enum MetaFile {
    /// It is made of the chunks.
    OfChunks,
    /// It is this one.
    Known(Arc<Vec<u8>>),
    /// There is none: runtimes read what they need from the blob.
    Missing,
}

/// A blob with everything about chunks that lie in an original layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexBlob {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
}

impl Blob {
    /// The blob of a layer, before its end is written.
    pub(crate) fn of_layer(
        version: Version,
        compressor: Compressor,
        chunks: Vec<ChunkPlace>,
        data_bytes: u64,
        uncompressed_bytes: u64,
    ) -> Self {
        let features = match version {
            Version::V5 => V5_FEATURES,
            Version::V6 if has_batches(&chunks) => V6_FEATURES | BATCH_FEATURES,
            Version::V6 => V6_FEATURES,
        };
        Self {
            id: UNKNOWN_ID,
            compressor,
            features: features | feature::INLINED_BOOTSTRAP,
            chunks: Arc::new(chunks),
            data_bytes,
            compressed_bytes: data_bytes,
            uncompressed_bytes,
            meta: MetaPlace::default(),
            meta_file: MetaFile::OfChunks,
            index: None,
        }
    }

    /// The original layer, as the index into it says.
    pub(crate) fn of_original(source: &LayerSums, chunks: Vec<ChunkPlace>, uncompressed_bytes: u64) -> Self {
        let blob = Self::of_layer(Version::V6, Compressor::Gzip, chunks, source.source_bytes, uncompressed_bytes);
        let features = blob.features | feature::ORIGINAL;
        Self { features, ..blob }.with_id(source.source_digest)
    }

    /// Whether it is the blob that a layer's own bootstrap stands in, or the layer that this is an index into.
    pub(crate) fn is_own(&self) -> bool {
        self.id == UNKNOWN_ID || (self.is_original() && self.index.is_none())
    }

    /// Whether it is a layer of the source.
    const fn is_original(&self) -> bool {
        self.features & feature::ORIGINAL == feature::ORIGINAL
    }

    /// The blob as an image knows it, to which `part` belongs.
    pub(crate) fn into_image(mut self, part: &Part) -> Self {
        self.features &= !feature::INLINED_BOOTSTRAP;
        if !self.is_original() {
            return self.with_id(part.digest);
        }
        let index = Some(IndexBlob { digest: part.digest, bytes: part.size });
        Self { index, meta_file: MetaFile::Missing, ..self }.with_id(part.source)
    }

    /// The blob under this name.
    pub(crate) fn with_id(mut self, digest: Digest) -> Self {
        self.id.copy_from_slice(digest.hex().as_bytes());
        self
    }

    /// The digest that its name is; none where that is not known.
    pub(crate) fn digest(&self) -> Option<Digest> {
        format!("sha256:{}", std::str::from_utf8(&self.id).ok()?).parse().ok()
    }

    /// Whether tables of blobs say the same of both, the number of chunks aside.
    pub(crate) fn is_the_same(&self, other: &Self) -> bool {
        let said = |blob: &Self| {
            (blob.id, blob.compressor, blob.features, blob.compressed_bytes, blob.uncompressed_bytes, blob.meta)
        };
        said(self) == said(other)
    }
}

/// The blobs of a bootstrap, in the order of their numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlobTable<'b>(&'b [Blob]);

impl<'b> From<&'b [Blob]> for BlobTable<'b> {
    fn from(blobs: &'b [Blob]) -> Self {
        Self(blobs)
    }
}

impl<'b> BlobTable<'b> {
    pub(crate) const fn all(self) -> &'b [Blob] {
        self.0
    }

    pub(crate) fn chunk(self, chunk: ChunkRef) -> &'b ChunkPlace {
        &self.0[chunk.blob()].chunks[chunk.chunk() as usize]
    }
}
