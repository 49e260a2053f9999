//! Bytes only: sniff, decompress, digest, limits, tar, and the bridge between async and blocking.
//!
//! Data moves one way: [`bridge`] hands a download to a blocking thread, [`LayerReader`] turns it into an
//! uncompressed tar while it hashes and counts both sides, [`TarReader`] walks that tar. Everything but the bridge is
//! synchronous, nothing holds a whole layer, and whatever comes from outside is bounded by [`Limits`].

mod error;
mod limits;

pub mod bridge;

mod sniff;
mod source;

mod gzip;
mod zstd;

mod layer;

mod tar;

pub use error::{PaxFault, StreamError};
pub use gzip::{InflatePoint, Passed, inflate_from};
pub use layer::{LayerReader, LayerSums};
pub use limits::Limits;
pub use sniff::{Compression, sniff};
pub use tar::{Entry, EntryKind, Mtime, TarReader};
