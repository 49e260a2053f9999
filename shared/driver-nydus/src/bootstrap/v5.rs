//! The bootstrap of RAFS v5, which nydusd alone reads. All numbers are little-endian; what has a place of its own begins at
//! a multiple of 8 bytes. Spec: nydus `rafs/src/metadata/layout/v5.rs`.
//!
//! A file system is a list of *records*, one for each name: inode, name, target of a symbolic link, extended attributes,
//! chunks. They are numbered from 1, the root; the children of a directory have numbers one behind the other.

mod digest;
mod layout;
mod plan;
mod superblock;
mod write;

pub(crate) use layout::*;
pub(crate) use plan::Plan;
