//! The index into an original layer: everything of a blob but its chunks, which stay where they are, in a gzip.
//!
//! One pass inflates the layer and takes note of places where inflating can begin, with what lies before each; chunks are
//! hashed by the pool and go nowhere.

mod back;
mod contents;
mod spans;
mod tail;

use std::convert::Infallible;
use std::ops::ControlFlow;

use accel_driver::{Codec, Converted, DriverError, Output, Pool, Source, Written, write_layer};
use accel_stream::{LayerSums, Limits};

use super::converted;
use super::front::Front;
use crate::names::REF_LAYER;
use back::Back;
use contents::Referred;

/// Converts a layer into the index into it.
pub(super) fn convert(
    pool: &Pool,
    chunk_bytes: u32,
    limits: Limits,
    source: &mut dyn Source,
    output: &mut dyn Output,
) -> Result<Converted, DriverError> {
    let written: Written<LayerSums, (), Infallible> =
        write_layer(pool, Codec::Nothing, Back::new(chunk_bytes)?, output, |sink| {
            Front::new(Referred::new(sink), (chunk_bytes, 0), limits).run(source, limits).map(ControlFlow::Continue)
        })?;
    match written {
        ControlFlow::Continue((source, blob)) => {
            let mut converted = converted(source, &blob);
            converted.annotations.insert(REF_LAYER.to_owned(), source.source_digest.to_string());
            Ok(converted)
        }
        ControlFlow::Break(never) => match never {},
    }
}
