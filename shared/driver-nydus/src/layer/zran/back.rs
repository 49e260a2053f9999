//! The back: numbers chunks and spans, keeps windows compressed, and writes the index at the end.

use std::io::Write;

use accel_driver::{Assemble, BlobWriter, Chunk, DriverError, Repeats, Unit};
use accel_stream::{InflatePoint, LayerSums};

use super::spans::{Place, SpanBytes};
use super::tail;
use crate::bootstrap::{BLOCK_BYTES, Blob, ChunkRef};
use crate::compressor::ZSTD_LEVEL;
use crate::layer::ChunkPlace;
use crate::tree::Tree;
use crate::zran::Span;

/// What compressed windows take at the most: those of some 13 GiB of gzip whose contents do not compress.
const MOST_WINDOWS_BYTES: usize = 256 << 20;

/// What the front says.
pub(super) enum Record {
    /// The next chunk of the contents, by its index in the unit.
    Chunk(usize, Place),
    /// The last of all records.
    End { tree: Box<Tree>, spans: Vec<SpanBytes>, sums: LayerSums },
}

/// Where a chunk lies in its span.
pub(super) struct InSpan {
    pub(super) span: u32,
    pub(super) at: u32,
}

/// Spans that chunks of the index lie in: one of repeated chunks alone is not there.
pub(super) struct KeptSpans {
    pub(super) spans: Vec<Span>,
    /// The front's number of each.
    numbers: Vec<u32>,
    /// Their windows, one behind the other, as a zstd frame that is not ended.
    windows: zstd::Encoder<'static, Vec<u8>>,
    window_bytes: u64,
    /// What they may take, compressed.
    most_bytes: usize,
}

/// Assembles one index. 64 bytes a chunk that is not repeated, and 4 a chunk; 44 bytes and a compressed window a span.
pub(super) struct Back {
    chunk_bytes: u32,
    repeats: Repeats,
    chunks: Vec<ChunkPlace>,
    /// One for each chunk.
    in_span: Vec<InSpan>,
    /// For each chunk in the order of the contents the one that holds its bytes.
    refs: Vec<ChunkRef>,
    /// Where the next chunk lies when all are uncompressed.
    uncompressed: u64,
    kept: KeptSpans,
    /// The beginning of the span that chunks lie in now, until one of them is kept.
    opened: Option<Box<InflatePoint>>,
    end: Option<(Box<Tree>, Vec<SpanBytes>, LayerSums)>,
}

impl Back {
    pub(super) fn new(chunk_bytes: u32) -> Result<Self, DriverError> {
        Ok(Self {
            chunk_bytes,
            repeats: Repeats::default(),
            chunks: Vec::new(),
            in_span: Vec::new(),
            refs: Vec::new(),
            uncompressed: 0,
            kept: KeptSpans::new(MOST_WINDOWS_BYTES)?,
            opened: None,
            end: None,
        })
    }

    fn chunk(&mut self, chunk: &Chunk, mut place: Place) -> Result<(), DriverError> {
        if let Some(point) = place.opens.take() {
            self.opened = Some(point);
        }
        let number = match self.repeats.written(&chunk.digest) {
            Some(number) => number,
            None => self.new_chunk(chunk, &place)?,
        };
        self.refs.push(ChunkRef::new(0, number));
        Ok(())
    }

    fn new_chunk(&mut self, chunk: &Chunk, place: &Place) -> Result<u32, DriverError> {
        if let Some(point) = self.opened.take() {
            self.kept.add(place.span, &point)?;
        }
        let number = self.chunks.len() as u32; // the front counts them
        self.repeats.write(&chunk.digest, number);
        self.in_span.push(InSpan { span: self.kept.spans.len() as u32 - 1, at: place.at });
        self.chunks.push(ChunkPlace {
            digest: chunk.digest,
            offset: place.offset,
            stored_bytes: place.stored_bytes,
            bytes: chunk.len as u32,
            block: (self.uncompressed / BLOCK_BYTES) as u32,
            batch: None,
        });
        self.uncompressed += (chunk.len as u64).next_multiple_of(BLOCK_BYTES);
        Ok(number)
    }
}

impl KeptSpans {
    fn new(most_bytes: usize) -> Result<Self, DriverError> {
        let windows = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(|_| DriverError::Codec)?;
        Ok(Self { spans: Vec::new(), numbers: Vec::new(), windows, window_bytes: 0, most_bytes })
    }

    fn add(&mut self, number: u32, point: &InflatePoint) -> Result<(), DriverError> {
        let window_bytes = point.window.len() as u32;
        self.spans.push(Span {
            input: point.input,
            input_bytes: 0,
            output: point.output,
            output_bytes: 0,
            window: self.window_bytes,
            window_bytes,
            bits: point.bits,
            byte: point.byte,
        });
        self.numbers.push(number);
        self.window_bytes += u64::from(window_bytes);
        self.windows.write_all(&point.window).map_err(|_| DriverError::Codec)?;
        if self.windows.get_ref().len() > self.most_bytes {
            let reason = "an index into it would take more than 256 MiB of memory: leave `oci_ref` out for this image";
            return Err(DriverError::unrepresentable(b"/", reason));
        }
        Ok(())
    }

    /// The spans, each with its length, and the frame of their windows.
    fn end(mut self, bytes: &[SpanBytes]) -> Result<(Vec<Span>, Vec<u8>), DriverError> {
        for (span, number) in self.spans.iter_mut().zip(&self.numbers) {
            let SpanBytes { input, output } = bytes[*number as usize];
            (span.input_bytes, span.output_bytes) = (input, output);
        }
        let frame = self.windows.finish().map_err(|_| DriverError::Codec)?;
        Ok((self.spans, if self.window_bytes == 0 { Vec::new() } else { frame }))
    }
}

impl Assemble for Back {
    type Record = Record;
    type Summary = ();

    fn absorb(&mut self, records: Vec<Record>, unit: &Unit, _blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        for record in records {
            match record {
                Record::Chunk(index, place) => self.chunk(&unit.chunks()[index], place)?,
                Record::End { tree, spans, sums } => self.end = Some((tree, spans, sums)),
            }
        }
        Ok(())
    }

    fn finish(self, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        let (tree, bytes, sums) = self.end.ok_or(DriverError::Codec)?; // the front always hands them over
        drop(self.repeats); // the memory that it held is needed for what follows
        let (spans, windows) = self.kept.end(&bytes)?;
        let mut original = Blob::of_original(&sums, self.chunks, self.uncompressed);
        let index = tail::Index { in_span: &self.in_span, spans: &spans, windows: &windows };
        tail::write(blob, &mut original, &index, &tree, &self.refs, self.chunk_bytes)
    }
}

#[cfg(test)]
mod tests {
    use accel_test_support::noise;

    use super::*;

    #[test]
    fn windows_are_held_up_to_a_bound() {
        for (bytes, fits) in [(0, true), (8 << 10, true), (32 << 10, false)] {
            let mut kept = KeptSpans::new(1 << 20).unwrap();
            let mut add = |number: u32| {
                let window = noise(bytes, number.into()).into_boxed_slice();
                kept.add(number, &InflatePoint { input: 0, bits: 0, byte: 0, output: 0, window })
            };
            match (0..100).try_for_each(&mut add) {
                Ok(()) => assert!(fits, "{bytes}"),
                Err(error) => assert!(!fits && error.to_string().contains("leave `oci_ref` out"), "{error}"),
            }
        }
    }
}
