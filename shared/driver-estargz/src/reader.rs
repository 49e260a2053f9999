//! Our own reader, for `verify` and `inspect`: it believes nothing that it has not checked, and holds no layer, no
//! TOC and no more than one entry at a time.
//!
//! [`toc_offset`] finds the TOC from a blob's last bytes, [`read_toc`] hands its entries out one by one, and
//! [`check_blob`] reads a blob and its TOC side by side and compares them: members, chunks, digests, metadata.

mod entry;
mod fault;

mod footer;
mod toc;

mod members;

mod check;
mod compare;

pub use check::{CheckedBlob, check_blob};
pub use entry::{TocEntry, TocKind};
pub use fault::FormatError;
pub use footer::{LEGACY_FOOTER_BYTES, toc_offset};
pub use toc::{TocSums, read_toc};

pub use crate::layout::is_reserved as is_own_name;
pub use crate::paths::clean as clean_path;
