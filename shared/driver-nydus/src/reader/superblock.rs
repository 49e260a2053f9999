//! What a bootstrap begins with.

use super::bytes::Bytes;
use super::fault::FormatError;
use super::tables::{Blob, ChunkTable};
use super::v5;
use crate::bootstrap::{
    BLOCK_BITS, BLOCK_BYTES, COMPAT_RAFS_V6, DEVICE_SLOT, EXTENDED, INCOMPAT, LINKS_BELOW, LINKS_MAGIC, MAGIC,
    SUPERBLOCK, flag,
};
use crate::compressor::Compressor;
use crate::version::Version;

const SB: u64 = SUPERBLOCK as u64;
const EXT: u64 = EXTENDED as u64;
const CHUNK_BYTES: std::ops::RangeInclusive<u32> = 0x1000..=0x100_0000;

/// A bootstrap whose superblocks and tables are right.
pub struct Bootstrap {
    pub(super) bytes: Vec<u8>,
    pub(super) layout: Layout,
    pub(super) root: u32,
    pub(super) inode_count: u64,
    pub(super) chunk_bytes: u32,
    pub(super) compressor: Compressor,
    pub(super) sha256: bool,
    pub(super) prefetches: usize,
    pub(super) blobs: Vec<Blob>,
    /// Where the section of links begins and how long it is.
    pub(super) links_below: (u64, u64),
}

/// Where inodes and chunks are.
pub(super) enum Layout {
    V5(v5::Records),
    V6 {
        /// Where inode 0 would be.
        inodes: u64,
        chunks: ChunkTable,
    },
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap")
            .field("inodes", &self.inode_count)
            .field("blobs", &self.blobs)
            .finish_non_exhaustive()
    }
}

impl Bootstrap {
    /// Takes a bootstrap, which is the file `image/image.boot` of the layer that ends an image.
    ///
    /// # Errors
    /// It is none of RAFS v5 or v6, or its superblocks or tables are wrong.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, FormatError> {
        Self::parse_up_to(u64::MAX, bytes)
    }

    /// As [`Bootstrap::parse`], but one of RAFS v6 whose blobs have more chunks than `most_chunks` is refused before its table of
    /// chunks is read, of which each entry takes memory.
    ///
    /// # Errors
    /// As there.
    pub fn parse_up_to(most_chunks: u64, bytes: Vec<u8>) -> Result<Self, FormatError> {
        if v5::is_one(&bytes) { v5::parse(bytes) } else { Self::parse_v6(most_chunks, bytes) }
    }

    fn parse_v6(most_chunks: u64, mut bytes: Vec<u8>) -> Result<Self, FormatError> {
        let at = Bytes(&bytes);
        check_superblock(at)?;
        let what = "superblock";
        let flags = at.u64(what, EXT)?;
        let compressor = compressor(flags)?;
        let chunk_bytes = chunk_bytes(at.u32(what, EXT + 20)?)?;
        let blobs = Blob::table(at, at.u64(what, EXT + 8)?, at.u32(what, EXT + 16)?)?;
        if blobs.iter().any(|blob| blob.is_original() != (compressor == Compressor::Gzip)) {
            return Err(FormatError::Kind("its chunks are stored in another way"));
        }
        if blobs.len() != usize::from(at.u16(what, SB + 86)?) {
            return Err(FormatError::part("table of blobs", "there are more or fewer devices"));
        }
        if blobs.iter().map(|blob| u64::from(blob.chunk_count)).sum::<u64>() > most_chunks {
            return Err(FormatError::TooManyChunks { limit: most_chunks });
        }
        let (chunk_table, table_bytes) = (at.u64(what, EXT + 24)?, at.u64(what, EXT + 32)?);
        let chunks = ChunkTable::parse(at, chunk_table, table_bytes, &blobs)?;
        let prefetches = at.slice("prefetch table", at.u64(what, EXT + 40)?, at.u32(what, EXT + 48)?.into())?.len() / 4;
        let links_below = match at.u32(what, LINKS_BELOW as u64)? {
            LINKS_MAGIC => (at.u64(what, LINKS_BELOW as u64 + 8)?, at.u64(what, LINKS_BELOW as u64 + 16)?),
            _ => (0, 0),
        };
        let (root, inode_count) = (at.u16(what, SB + 14)?.into(), at.u64(what, SB + 16)?);
        let inodes = u64::from(at.u32(what, SB + 40)?) * BLOCK_BYTES;
        let sha256 = flags & flag::SHA256 != 0;
        // Nothing comes behind the table of chunks, which is half of a bootstrap and is held in a shorter form.
        if table_bytes > 0 {
            bytes.truncate(usize::try_from(chunk_table).unwrap_or(usize::MAX));
            bytes.shrink_to_fit();
        }
        Ok(Self {
            bytes,
            layout: Layout::V6 { inodes, chunks },
            root,
            inode_count,
            chunk_bytes,
            compressor,
            sha256,
            prefetches,
            blobs,
            links_below,
        })
    }

    /// The version of RAFS.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self.layout {
            Layout::V5(_) => Version::V5,
            Layout::V6 { .. } => Version::V6,
        }
    }

    /// Files larger than this are split into chunks of this size.
    #[must_use]
    pub fn chunk_size(&self) -> u64 {
        self.chunk_bytes.into()
    }

    /// How chunks are compressed.
    #[must_use]
    pub const fn compressor(&self) -> Compressor {
        self.compressor
    }

    /// Whether digests of chunks are SHA-256, which alone is checked.
    #[must_use]
    pub const fn has_sha256(&self) -> bool {
        self.sha256
    }

    /// How many paths are fetched ahead.
    #[must_use]
    pub const fn prefetches(&self) -> usize {
        self.prefetches
    }

    /// The blobs that hold the chunks.
    #[must_use]
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// How many inodes it says it has.
    #[must_use]
    pub const fn inode_count(&self) -> u64 {
        self.inode_count
    }

    pub(super) fn at(&self) -> Bytes<'_> {
        Bytes(&self.bytes)
    }
}

fn check_superblock(at: Bytes<'_>) -> Result<(), FormatError> {
    let what = "superblock";
    if at.u32(what, SB)? != MAGIC {
        return Err(FormatError::Kind("the magic number is another"));
    }
    if at.u8(what, SB + 12)? != BLOCK_BITS {
        return Err(FormatError::Kind("its blocks are not 4 KiB"));
    }
    let features = (at.u32(what, SB + 8)? & COMPAT_RAFS_V6, at.u32(what, SB + 80)?);
    if features != (COMPAT_RAFS_V6, INCOMPAT) || at.u32(what, SB + 44)? != 0 {
        return Err(FormatError::Kind("it has other features"));
    }
    if at.u16(what, SB + 88)? != DEVICE_SLOT {
        return Err(FormatError::Kind("its table of devices is elsewhere"));
    }
    Ok(())
}

/// The length of chunks, if it is one.
pub(super) fn chunk_bytes(bytes: u32) -> Result<u32, FormatError> {
    if !bytes.is_power_of_two() || !CHUNK_BYTES.contains(&bytes) {
        return Err(FormatError::part("chunk size", "it is no power of two from 4 KiB to 16 MiB"));
    }
    Ok(bytes)
}

/// The compressor that the flags of a superblock name.
pub(super) fn compressor(flags: u64) -> Result<Compressor, FormatError> {
    const ALL: u64 = flag::NOT_COMPRESSED | flag::LZ4 | flag::ZSTD | flag::GZIP;
    match flags & ALL {
        flag::NOT_COMPRESSED => Ok(Compressor::None),
        flag::LZ4 => Ok(Compressor::Lz4Block),
        flag::ZSTD => Ok(Compressor::Zstd),
        flag::GZIP => Ok(Compressor::Gzip),
        _ => Err(FormatError::Kind("its chunks are compressed in another way")),
    }
}
