//! Bootstraps of RAFS v5. What they are is said beside what writes them, in `bootstrap/v5.rs`.
//!
//! Every record is looked at when the bootstrap is taken: none lies in another, names of one file say the same of it, and
//! files say the same of a chunk. So what is read of a record later is read once for each of its names.

mod children;
mod chunks;
mod record;
mod records;
mod superblock;

pub(crate) mod tail;

pub(super) use chunks::file_chunks;
pub(super) use records::Records;
pub(super) use superblock::{is_one, parse};
