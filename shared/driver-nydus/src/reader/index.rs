//! An index into an original layer, held to that layer: every span is inflated as a runtime does, and every chunk in it
//! compared with its digest.
//!
//! Both blobs are read once, from front to back. What is held is a span's window and output, twice its input, 56 bytes a span and 12 a
//! chunk. Spans may overlap only as far as those of a right index do, and chunks of a span not at all, so that the work is
//! bounded by the layer's length.

mod sections;

use std::collections::BTreeMap;
use std::io::{self, Read};

use accel_image::Digest;
use accel_stream::{Limits, inflate_from};

use super::fault::FormatError;
use super::tables::{Blob, ChunkRef};
use crate::layer::meta::META_HEADER_BYTES;
use crate::zran::{Arrays, IN_HEADER, Span};
use sections::{InSpan, Sections};

/// How many spans may take the same bytes of the gzip, on average.
const INPUT_OVERLAP: u64 = 3;
/// And how many may yield the same bytes of the tar.
const OUTPUT_OVERLAP: u64 = 2;

/// Takes what is wrong, in words.
type Wrong<'w> = dyn FnMut(String) + 'w;

/// Compares the chunks of `blob` that files refer to, `chunks` by their numbers: `index` yields the blob that says where they
/// lie, `original` the layer. Shows what is wrong, in words, to `wrong`; both are read as far as that is looked for.
///
/// # Errors
/// The index cannot be read on: it contradicts itself or the bootstrap, or its bytes did not all come.
pub fn check_index(
    blob: &Blob,
    chunks: &BTreeMap<u32, ChunkRef>,
    index: &mut dyn Read,
    original: &mut dyn Read,
    limits: Limits,
    wrong: &mut Wrong<'_>,
) -> Result<(), FormatError> {
    skip(index, blob.meta.offset)?;
    let mut stored = (&mut *index).take(blob.meta.stored_bytes);
    let mut sections = Sections::open(blob, &mut stored)?;
    let places = sections.chunks(blob, chunks, wrong)?;
    let spans = sections.spans(blob, &places)?;
    check_overlap(&spans, blob.compressed_size, limits.layer_bytes)?;
    let mut input = Input { original, at: 0, held: Vec::new() };
    let mut rest = &places[..];
    for (number, span) in spans.iter().enumerate() {
        let window = sections.window(span)?;
        let (these, later) = rest.split_at(rest.partition_point(|place| place.span as usize <= number));
        rest = later;
        if these.is_empty() {
            continue;
        }
        match inflate(span, window, &mut input) {
            Ok(output) => compare(these, chunks, &output, wrong),
            Err(what) => wrong(format!("what its index says of byte {} on: {what}", span.input)),
        }
    }
    drop(sections);
    let unread = stored.limit();
    skip(index, unread)?;
    check_header(blob, &spans, index)
}

fn skip(index: &mut dyn Read, bytes: u64) -> Result<(), FormatError> {
    io::copy(&mut index.take(bytes), &mut io::sink()).map(drop).map_err(FormatError::from_io)
}

/// Whether so much may be inflated.
fn check_overlap(spans: &[Span], input_bytes: u64, output_bytes: u64) -> Result<(), FormatError> {
    let input: u64 = spans.iter().map(|span| u64::from(span.input_bytes)).sum();
    let output: u64 = spans.iter().map(|span| u64::from(span.output_bytes)).sum();
    if input > INPUT_OVERLAP.saturating_mul(input_bytes) || output > OUTPUT_OVERLAP.saturating_mul(output_bytes) {
        return Err(FormatError::Tail("its index has spans that lie in each other"));
    }
    Ok(())
}

/// Whether the header behind `blob.meta`, which a runtime reads first, says where spans are.
fn check_header(blob: &Blob, spans: &[Span], index: &mut dyn Read) -> Result<(), FormatError> {
    let mut header = [0; META_HEADER_BYTES];
    index.read_exact(&mut header).map_err(|_| FormatError::Tail("its index ends too early"))?;
    let windows = spans.iter().map(|span| u64::from(span.window_bytes)).sum();
    let arrays = Arrays { chunks: blob.chunk_count, spans: spans.len() as u32, window_bytes: windows };
    if header[IN_HEADER..][..Arrays::HEADER_BYTES] != arrays.in_header() {
        return Err(FormatError::Tail("the header of its index is about other chunks or spans"));
    }
    Ok(())
}

/// The original layer: what the span that is inflated takes of it.
struct Input<'o> {
    original: &'o mut dyn Read,
    /// Where `held` begins.
    at: u64,
    held: Vec<u8>,
}

impl Input<'_> {
    /// The bytes of `span`, which begins where the last one did or behind that.
    fn of(&mut self, span: &Span) -> io::Result<&[u8]> {
        let mut passed = (span.input - self.at).min(self.held.len() as u64) as usize;
        // Not before half of it is passed: or each of many short steps would move all the rest.
        if passed > self.held.len() / 2 {
            self.held.drain(..passed);
            self.at += passed as u64;
            passed = 0;
        }
        if self.held.is_empty() {
            let gap = span.input - self.at;
            self.at += io::copy(&mut (&mut *self.original).take(gap), &mut io::sink())?;
        }
        let end = passed + span.input_bytes as usize;
        let missing = end.saturating_sub(self.held.len()) as u64;
        (&mut *self.original).take(missing).read_to_end(&mut self.held)?;
        self.held.get(passed..end).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn inflate(span: &Span, window: Box<[u8]>, input: &mut Input<'_>) -> Result<Vec<u8>, String> {
    let mut output = vec![0; span.output_bytes as usize];
    let input = input.of(span).map_err(|error| format!("the layer cannot be read: {error}"))?;
    inflate_from(&span.point(window), input, &mut output).map_err(|error| error.to_string())?;
    Ok(output)
}

fn compare(places: &[InSpan], chunks: &BTreeMap<u32, ChunkRef>, output: &[u8], wrong: &mut Wrong<'_>) {
    for place in places {
        let Some(chunk) = chunks.get(&place.number) else { continue };
        let (from, len) = (place.at as usize, chunk.uncompressed_size as usize);
        let content = output.get(from..).and_then(|rest| rest.get(..len));
        if content.is_none_or(|content| Digest::of(content) != chunk.digest) {
            wrong(format!("chunk {} is not where its index says", place.number));
        }
    }
}

#[cfg(test)]
mod tests;
