//! Where spans begin and end.
//!
//! A span begins at the last point before a chunk; the next chunk begins another one once the span is long enough and there is
//! a later point. It ends with its last chunk, and takes of the gzip all up to the first point (or the end) that lies *behind*
//! that: a reader then never comes to the end of a member with nothing more to inflate, which zlib's callers take for a
//! stream that is cut off.

use accel_stream::{InflatePoint, Passed, StreamError};

use crate::layer::front::Layer;
use crate::zran::{ChunkInfo, MOST_INPUT_BYTES, MOST_OUTPUT_BYTES};

/// A span takes about so much of a small layer's gzip.
const LEAST_INPUT_BYTES: u64 = 512 << 10;
/// And so much of a large one's: windows of all spans are held until the layer ends, and take some 12 KiB each, 32 at most.
const MOST_USUAL_INPUT_BYTES: u64 = 2 << 20;
/// How many spans there are before they get longer.
const SPANS_OF_LEAST: u64 = 1024;
/// What a span yields for each byte that it takes, before it is long enough.
const USUAL_RATIO: u64 = 4;
/// What is read at once of what comes after the tar.
const REST_BYTES: usize = 64 << 10;

/// The spans of a layer. 32 bytes each.
#[derive(Default)]
pub(super) struct Spans {
    spans: Vec<Draft>,
    /// The first whose end in the gzip is not known.
    open: usize,
}

#[derive(Debug, Clone, Copy)]
struct Draft {
    /// Where it begins in gzip and tar.
    start: Passed,
    /// Where its last chunk ends in the tar.
    output_end: u64,
    input_end: Option<u64>,
}

/// How long a span is, in gzip and tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanBytes {
    pub(super) input: u32,
    pub(super) output: u32,
}

/// A chunk before it is read.
pub(super) struct Began {
    /// The tar's byte that it begins at.
    output: u64,
    /// About where it begins in the gzip.
    input: u64,
    /// The beginning of its span, if it is the first in it.
    opens: Option<Box<InflatePoint>>,
}

/// Where a chunk lies.
pub(super) struct Place {
    /// The number of its span.
    pub(super) span: u32,
    /// Where it begins in what that yields.
    pub(super) at: u32,
    /// About where it begins in the gzip, and how long it is there.
    pub(super) offset: u64,
    pub(super) stored_bytes: u32,
    /// The beginning of its span, if it is the first in it.
    pub(super) opens: Option<Box<InflatePoint>>,
}

impl Spans {
    /// A chunk of so many `bytes` comes next in `layer`.
    pub(super) fn begin(&mut self, layer: &mut Layer, bytes: u64) -> Result<Began, &'static str> {
        self.pass(layer);
        let output = layer.position();
        let Some(point) = layer.point() else { return Err("it lies in something that is not gzip") };
        let start = Passed { input: point.input, output: point.output };
        let opens = match self.spans.last() {
            Some(span) if !span.is_full(start, output + bytes) => None,
            Some(_) | None => Some(Box::new(point.clone())),
        };
        if opens.is_some() {
            self.spans.push(Draft { start, output_end: output, input_end: None });
        }
        let began = self.spans.last().map_or(output, |span| span.start.output);
        if output + bytes - began > MOST_OUTPUT_BYTES {
            return Err("its gzip is one block for more than 16 MiB, and readers can begin between blocks alone");
        }
        Ok(Began { output, input: start.input, opens })
    }

    /// The chunk was read.
    pub(super) fn end_chunk(&mut self, layer: &mut Layer, began: Began, bytes: u64) -> Place {
        let last = self.spans.len() - 1;
        let span = &mut self.spans[last];
        (span.output_end, span.input_end) = (began.output + bytes, None);
        self.open = self.open.min(last);
        let at = (began.output - span.start.output) as u32;
        self.pass(layer);
        let input_end = layer.point().map_or(began.input, |point| point.input);
        let stored_bytes = ChunkInfo::stored(input_end - began.input);
        Place { span: last as u32, at, offset: began.input, stored_bytes, opens: began.opens }
    }

    /// Reads `layer` to its end, and says how long all spans are.
    pub(super) fn end(mut self, layer: &mut Layer) -> Result<Result<Vec<SpanBytes>, &'static str>, StreamError> {
        let mut rest = vec![0; REST_BYTES];
        while layer.read_bytes(&mut rest)? > 0 {
            self.pass(layer);
        }
        self.pass(layer);
        Ok(self.spans.into_iter().map(Draft::bytes).collect())
    }

    /// Looks what was passed since the last time.
    fn pass(&mut self, layer: &mut Layer) {
        for passed in layer.passed() {
            for span in &mut self.spans[self.open..] {
                if span.input_end.is_none() && passed.output > span.output_end {
                    span.input_end = Some(passed.input);
                }
            }
            while self.spans.get(self.open).is_some_and(|span| span.input_end.is_some()) {
                self.open += 1;
            }
        }
    }
}

impl Draft {
    /// Whether a chunk that ends at byte `end` of the tar is to begin another span, at `point`.
    fn is_full(&self, point: Passed, end: u64) -> bool {
        let before = self.start.input.max(self.start.output / USUAL_RATIO);
        let usual = (before / SPANS_OF_LEAST).clamp(LEAST_INPUT_BYTES, MOST_USUAL_INPUT_BYTES);
        let is_long = point.input - self.start.input >= usual || end - self.start.output >= USUAL_RATIO * usual;
        point != self.start && is_long
    }

    fn bytes(self) -> Result<SpanBytes, &'static str> {
        let end = self.input_end.ok_or("it ends with a file, and readers want something behind it, as tars have it")?;
        let input = end - self.start.input;
        if input > MOST_INPUT_BYTES {
            return Err("its gzip has blocks that are far longer than what is in them");
        }
        Ok(SpanBytes { input: input as u32, output: (self.output_end - self.start.output) as u32 })
    }
}
