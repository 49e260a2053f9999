//! What a format has to do, and the sink that compresses, hashes and counts.
//!
//! A driver has two halves. The *front* reads a layer's tar and writes bytes, chunks and records into a [`Sink`]:
//! it decides where chunks end. The *back* ([`Assemble`]) gets the records again, in order, once their chunks are
//! compressed and have their place in the blob, and writes what ends it. Between the two, a process-wide [`Pool`]
//! of threads compresses whole units, several chunks at a time, and an ordered writer puts them back in line.
//! The bytes that come out depend on the bytes that go in and on the options, never on the number of threads.

mod contract;
mod error;

mod batches;
mod codec;
mod pool;
mod repeats;
mod stock;
mod unit;

mod layer;
mod sink;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use codec::Codec;
pub use contract::{Blobs, Converted, Driver, Merge, Merged, Output, Part, Source};
pub use error::DriverError;
pub use layer::{Assemble, BlobWriter, Finished, Written, write_layer};
pub use pool::Pool;
pub use repeats::{Elsewhere, Repeats};
pub use sink::{Cut, Sink};
pub use unit::{Chunk, Member, UNIT_BYTES, Unit};
