//! Our own reader, for the merge, `verify` and `inspect`: it believes nothing that it has not checked.
//!
//! [`Bootstrap::parse`] takes a bootstrap and checks what it begins with; [`Bootstrap::walk`] shows every path. No offset,
//! length or number leads out of the bootstrap or around in circles, and no more is held than what was read.

mod bytes;
mod fault;

mod superblock;
mod tables;

mod directory;
mod inode;
mod links;
mod walk;

mod chunk;
mod index;

mod v5;

mod own;
pub(crate) mod tail;

pub use chunk::{check_chunk, check_chunk_of_batch, uncompressed_batch};
pub use fault::FormatError;
pub use index::check_index;
pub use own::OwnBootstrap;
pub use superblock::Bootstrap;
pub use tables::{Blob, ChunkRef};
pub use walk::Inode;

pub(crate) use inode::Node;
pub(crate) use walk::Seen;

pub use crate::compressor::Compressor;
pub use crate::layer::InBatch;
pub use crate::version::Version;
