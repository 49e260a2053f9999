//! The bootstrap: a file system's metadata as the kernel reads it, RAFS v6 on EROFS. All numbers are little-endian, blocks
//! have 4 KiB. Spec: nydus `rafs/src/metadata/layout/v6.rs`; the kernel's `fs/erofs/erofs_fs.h`.
//!
//! A [`Plan`] gives every inode its place; writing it out is then one pass from front to back.

mod blobs;
mod directory;
mod layout;
mod links;
mod place;
mod prefetch;
mod superblock;
mod write;

pub(crate) use blobs::{Blob, BlobTable, ChunkRef, ID_BYTES, MetaPlace, UNKNOWN_ID};
pub(crate) use layout::*;
pub(crate) use place::Plan;

use crate::compressor::Compressor;
use crate::tree::Tree;

/// Everything that a bootstrap says.
pub(crate) struct Image<'i> {
    pub(crate) tree: &'i Tree,
    /// The chunks of all files, one file behind the other.
    pub(crate) refs: &'i [ChunkRef],
    pub(crate) blobs: BlobTable<'i>,
    pub(crate) chunk_bytes: u32,
    pub(crate) compressor: Compressor,
    pub(crate) extra: Extra<'i>,
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
