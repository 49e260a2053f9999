//! eStargz layers. Spec: stargz-snapshotter `docs/estargz.md`; what is written here and where it goes beyond the
//! reference is in `docs/formats/estargz.md`.
//!
//! A blob is a multi-member gzip of a tar: the source's entries with a landmark among them, each payload chunk at
//! the start of a member, then a table of contents (TOC) in a member of its own, then a footer that says where.

mod layout;

mod entries;
mod writer;

mod front;
mod paths;
mod plan;
mod text;

mod back;
mod toc;

pub mod reader;

pub use layout::{FOOTER_BYTES, LANDMARK, NO_PREFETCH_LANDMARK, TOC_DIGEST, TOC_NAME, UNCOMPRESSED_SIZE, footer};
pub use writer::Estargz;
