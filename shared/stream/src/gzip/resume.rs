//! Inflate from the middle of a gzip.

use std::io::Read;

use super::blocks::Blocks;
use super::engine::Engine;
use super::{Gzip, InflatePoint, State, truncated};
use crate::StreamError;
use crate::source::Source;

/// Fills `out` with what follows `point`, whatever members end before it is full. `input` yields the blob's bytes from
/// [`InflatePoint::input`] on.
///
/// # Errors
/// Those are no deflate data, or too few.
pub fn inflate_from(point: &InflatePoint, input: impl Read, out: &mut [u8]) -> Result<(), StreamError> {
    let engine = Engine::Blocks(Blocks::resume(point.bits, point.byte, &point.window));
    let mut gzip = Gzip { is_whole: false, state: State::Body, ..Gzip::with_engine(engine) };
    let mut source = Source::new(input);
    let mut filled = 0;
    while filled < out.len() {
        match gzip.read(&mut source, &mut out[filled..])? {
            0 => return Err(truncated(&source)),
            written => filled += written,
        }
    }
    Ok(())
}
