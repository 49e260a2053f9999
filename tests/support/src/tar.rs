//! Tars written as lists of entries, odd ones included. Written by hand, so that they can be wrong on purpose.
//!
//! `tar(&[dir("a/"), file("a/b", b"..").mode(0o4755), symlink("l", "a/b")])`

mod entry;
mod header;
mod nasty;
mod write;

pub use entry::{
    Entry, block_device, char_device, dir, fifo, file, global_pax, gnu_long_link, gnu_long_name, hardlink, opaque,
    raw_header, sparse_gnu, sparse_pax, symlink, whiteout,
};
pub use nasty::{nasty_entries, nasty_tar, raw_names_tar, replaced_tar, sparse_tar};
pub use write::{entry_blocks, tar, tar_as, tar_without_end};

/// How an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// POSIX.1-1988: long names are cut at a slash into prefix and name; nothing else that is long fits.
    Ustar,
    /// POSIX.1-2001: what USTAR cannot hold goes into an extended header before the entry.
    Pax,
    /// GNU: long names are entries of their own, large numbers are binary.
    Gnu,
}
