//! `blob.meta` of an index: chunks, spans and windows, each read once, in their order.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::compressor::Compressor;
use crate::reader::{Blob, ChunkRef, FormatError};
use crate::zran::{CHUNK_BYTES, ChunkInfo, MOST_INPUT_BYTES, MOST_OUTPUT_BYTES, MOST_WINDOW_BYTES, SPAN_BYTES, Span};

use super::Wrong;

/// More than a layer of 64 GiB has, the largest that is converted by default.
const MOST_SPANS: usize = 1 << 18;

/// A chunk that files refer to, in its span.
pub(super) struct InSpan {
    pub(super) number: u32,
    pub(super) span: u32,
    pub(super) at: u32,
}

/// `blob.meta`, read from its beginning.
pub(super) struct Sections<'i>(Box<dyn Read + 'i>);

impl<'i> Sections<'i> {
    pub(super) fn open(blob: &Blob, index: &'i mut dyn Read) -> Result<Self, FormatError> {
        let stored = index.take(blob.meta.stored_bytes);
        Ok(Self(match Compressor::of_number(blob.meta.compressor) {
            Some(Compressor::Zstd) => Box::new(zstd::Decoder::new(stored).map_err(FormatError::from_io)?),
            Some(Compressor::None) => Box::new(stored),
            Some(Compressor::Lz4Block | Compressor::Gzip) | None => {
                return Err(FormatError::Tail("its index is compressed in a way that is not known"));
            }
        }))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        self.0.read_exact(&mut array).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => FormatError::Tail("its index ends too early"),
            _ => FormatError::from_io(error),
        })?;
        Ok(array)
    }

    /// Where chunks lie, those of files, in the order of their spans, where none begins before the last one ends: so builders
    /// write them, who read a tar from front to back.
    pub(super) fn chunks(
        &mut self,
        blob: &Blob,
        chunks: &BTreeMap<u32, ChunkRef>,
        wrong: &mut Wrong<'_>,
    ) -> Result<Vec<InSpan>, FormatError> {
        let mut places = Vec::new();
        let mut last = 0;
        let mut end = (0, 0);
        for number in 0..blob.chunk_count {
            let info = ChunkInfo::parse(&self.array::<CHUNK_BYTES>()?)
                .ok_or(FormatError::Tail("its index has chunks of another kind"))?;
            if info.span < last {
                return Err(FormatError::Tail("its index has chunks and spans in different orders"));
            }
            last = info.span;
            let Some(chunk) = chunks.get(&number) else { continue };
            let said = (chunk.uncompressed_size, chunk.compressed_offset, chunk.compressed_size);
            if said != (info.bytes, info.offset, info.stored_bytes) {
                wrong(format!("its index and the bootstrap say different things of chunk {number}"));
            }
            let begin = (info.span, u64::from(info.at));
            if begin < end {
                return Err(FormatError::Tail("its index has chunks that lie in each other"));
            }
            end = (info.span, begin.1 + u64::from(chunk.uncompressed_size));
            places.push(InSpan { number, span: info.span, at: info.at });
        }
        Ok(places)
    }

    /// All spans. Other builders write some that no chunk lies in: those of chunks that came before. Runtimes take no more spans
    /// than chunks.
    pub(super) fn spans(&mut self, blob: &Blob, places: &[InSpan]) -> Result<Vec<Span>, FormatError> {
        const OTHER: FormatError = FormatError::Tail("its index has another length than its chunks and spans");
        let arrays = u64::from(blob.chunk_count) * CHUNK_BYTES as u64;
        let mut left = blob.meta.bytes.checked_sub(arrays).ok_or(OTHER)?;
        let mut spans = Vec::new();
        while left > 0 {
            left = left.checked_sub(SPAN_BYTES as u64).ok_or(OTHER)?;
            if spans.len() == MOST_SPANS.min(blob.chunk_count as usize) {
                return Err(FormatError::Tail("its index has too many spans"));
            }
            let span = self.span(spans.last())?;
            left = left.checked_sub(span.window_bytes.into()).ok_or(OTHER)?;
            spans.push(span);
        }
        if places.last().is_some_and(|place| place.span as usize >= spans.len()) {
            return Err(FormatError::Tail("its index has chunks in a span that is not there"));
        }
        Ok(spans)
    }

    fn span(&mut self, last: Option<&Span>) -> Result<Span, FormatError> {
        let span = Span::parse(&self.array::<SPAN_BYTES>()?);
        let fits = u64::from(span.input_bytes) <= MOST_INPUT_BYTES
            && u64::from(span.output_bytes) <= MOST_OUTPUT_BYTES
            && span.window_bytes as usize <= MOST_WINDOW_BYTES
            && span.bits < 8;
        let (input, window) = last.map_or((0, 0), |last| (last.input, last.window + u64::from(last.window_bytes)));
        if !fits || span.input < input || span.window != window {
            return Err(FormatError::Tail("its index has a span that cannot be"));
        }
        Ok(span)
    }

    pub(super) fn window(&mut self, span: &Span) -> Result<Box<[u8]>, FormatError> {
        let mut window = vec![0; span.window_bytes as usize];
        self.0.read_exact(&mut window).map_err(|_| FormatError::Tail("its index ends too early"))?;
        Ok(window.into())
    }
}
