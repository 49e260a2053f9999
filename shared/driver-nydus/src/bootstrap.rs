//! The bootstrap: a file system's metadata as the kernel reads it, RAFS v6 on EROFS. All numbers are little-endian, blocks
//! have 4 KiB. Spec: nydus `rafs/src/metadata/layout/v6.rs`; the kernel's `fs/erofs/erofs_fs.h`. RAFS v5 is in [`v5`].
//!
//! A [`Plan`] gives every inode its place; writing it out is then one pass from front to back.

mod blobs;
mod directory;
mod layout;
mod links;
mod place;
mod prefetch;
mod superblock;
mod unused;
mod write;

pub(crate) mod v5;

use std::io;

pub(crate) use blobs::{Blob, BlobTable, ChunkRef, ID_BYTES, MetaFile, MetaPlace, UNKNOWN_ID, V6_FEATURES};
pub(crate) use layout::*;
use place::Fault;
pub(crate) use unused::{leave_out_unused, new_numbers, used};

use crate::compressor::Compressor;
use crate::tree::Tree;
use crate::version::Version;

/// Everything that a bootstrap says.
pub(crate) struct Image<'i> {
    pub(crate) tree: &'i Tree,
    /// The chunks of all files, one file behind the other.
    pub(crate) refs: &'i [ChunkRef],
    pub(crate) blobs: BlobTable<'i>,
    pub(crate) chunk_bytes: u32,
    pub(crate) compressor: Compressor,
    pub(crate) version: Version,
    pub(crate) extra: Extra<'i>,
}

/// Where everything of a bootstrap goes.
pub(crate) enum Plan<'i> {
    V5(Box<v5::Plan<'i>>),
    V6(Box<place::Plan>),
}

impl<'i> Plan<'i> {
    /// Places everything.
    ///
    /// # Errors
    /// [`Fault`] where numbers of the format are too small.
    pub(crate) fn new(image: &Image<'i>) -> Result<Self, Fault> {
        match image.version {
            Version::V5 => v5::Plan::new(image).map(Box::new).map(Self::V5),
            Version::V6 => place::Plan::new(image).map(Box::new).map(Self::V6),
        }
    }

    /// The length of the bootstrap.
    pub(crate) const fn bytes(&self) -> u64 {
        match self {
            Self::V5(plan) => plan.bytes(),
            Self::V6(plan) => plan.bytes(),
        }
    }

    /// Writes the bootstrap of `image`, for which this plan was made: [`Plan::bytes`] bytes.
    ///
    /// # Errors
    /// Those of `out`, and [`io::ErrorKind::Other`] where the tree does not follow the plan.
    pub(crate) fn write(&self, image: &Image<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Self::V5(plan) => plan.write(image, out),
            Self::V6(plan) => plan.write(image, out),
        }
    }
}

/// What only one kind of bootstrap has.
#[derive(Clone, Copy)]
pub(crate) enum Extra<'i> {
    /// That of a layer: whiteouts are files, links to files of layers below stand apart.
    Layer,
    /// That of an image.
    Image {
        /// What to fetch ahead: absolute paths.
        prefetch: &'i [String],
    },
}
