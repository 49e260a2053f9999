//! How chunks are compressed.

use accel_domain::NydusCompressor;
use accel_driver::Codec;

use crate::bootstrap::flag;

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// Not at all.
    None,
    /// LZ4 blocks.
    Lz4Block,
    /// The layer's own gzip: the image refers to the original layers.
    Gzip,
    /// zstd frames.
    Zstd,
}

/// The level of zstd: upstream's.
pub(crate) const ZSTD_LEVEL: i32 = 3;

impl Compressor {
    /// The name in options and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4Block => "lz4_block",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// How the pool compresses.
    pub(crate) const fn codec(self) -> Codec {
        match self {
            Self::None => Codec::Stored,
            Self::Lz4Block => Codec::Lz4Block,
            Self::Gzip => Codec::Nothing,
            Self::Zstd => Codec::Zstd { level: ZSTD_LEVEL },
        }
    }

    /// The number in tables.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Lz4Block => 1,
            Self::Gzip => 2,
            Self::Zstd => 3,
        }
    }

    /// The flag in superblocks.
    pub(crate) const fn flag(self) -> u64 {
        match self {
            Self::None => flag::NOT_COMPRESSED,
            Self::Lz4Block => flag::LZ4,
            Self::Gzip => flag::GZIP,
            Self::Zstd => flag::ZSTD,
        }
    }

    /// The compressor of a number.
    pub(crate) const fn of_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Lz4Block),
            2 => Some(Self::Gzip),
            3 => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl From<NydusCompressor> for Compressor {
    fn from(option: NydusCompressor) -> Self {
        match option {
            NydusCompressor::None => Self::None,
            NydusCompressor::Lz4Block => Self::Lz4Block,
            NydusCompressor::Zstd => Self::Zstd,
        }
    }
}
