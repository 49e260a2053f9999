//! `blob.meta` of an index: chunks, spans and windows, each read once, in their order.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::compressor::Compressor;
use crate::reader::{Blob, ChunkRef, FormatError};
use crate::zran::{CHUNK_BYTES, ChunkInfo, MOST_INPUT_BYTES, MOST_OUTPUT_BYTES, MOST_WINDOW_BYTES, SPAN_BYTES, Span};

/// More than a layer of 64 GiB has, the largest that is converted by default.
const MOST_SPANS: u32 = 1 << 18;

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

    /// Where chunks lie, those of files, in the order of their spans; and how many spans there are.
    pub(super) fn chunks(
        &mut self,
        blob: &Blob,
        chunks: &BTreeMap<u32, ChunkRef>,
        wrong: &mut Vec<String>,
    ) -> Result<(Vec<InSpan>, u32), FormatError> {
        let mut places = Vec::new();
        let mut last = 0;
        for number in 0..blob.chunk_count {
            let info = ChunkInfo::parse(&self.array::<CHUNK_BYTES>()?)
                .ok_or(FormatError::Tail("its index has chunks of another kind"))?;
            // A span without a chunk is read by nobody, and there are no more spans than chunks.
            if info.span < last || info.span > last + 1 || (number == 0 && info.span != 0) {
                return Err(FormatError::Tail("its index has chunks and spans in different orders"));
            }
            if info.span >= MOST_SPANS {
                return Err(FormatError::Tail("its index has too many spans"));
            }
            last = info.span;
            let Some(chunk) = chunks.get(&number) else { continue };
            let said = (chunk.uncompressed_size, chunk.compressed_offset, chunk.compressed_size);
            if said != (info.bytes, info.offset, info.stored_bytes) {
                wrong.push(format!("its index and the bootstrap say different things of chunk {number}"));
            }
            places.push(InSpan { number, span: info.span, at: info.at });
        }
        Ok((places, if blob.chunk_count == 0 { 0 } else { last + 1 }))
    }

    pub(super) fn spans(&mut self, count: u32) -> Result<Vec<Span>, FormatError> {
        let mut spans = Vec::new();
        for _ in 0..count {
            let span = Span::parse(&self.array::<SPAN_BYTES>()?);
            let fits = u64::from(span.input_bytes) <= MOST_INPUT_BYTES
                && u64::from(span.output_bytes) <= MOST_OUTPUT_BYTES
                && span.window_bytes as usize <= MOST_WINDOW_BYTES
                && span.bits < 8;
            let (input, window) =
                spans.last().map_or((0, 0), |last: &Span| (last.input, last.window + u64::from(last.window_bytes)));
            if !fits || span.input < input || span.window != window {
                return Err(FormatError::Tail("its index has a span that cannot be"));
            }
            spans.push(span);
        }
        Ok(spans)
    }

    pub(super) fn window(&mut self, span: &Span) -> Result<Box<[u8]>, FormatError> {
        let mut window = vec![0; span.window_bytes as usize];
        self.0.read_exact(&mut window).map_err(|_| FormatError::Tail("its index ends too early"))?;
        Ok(window.into())
    }
}
