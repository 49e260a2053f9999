//! Contents that stay in the gzip: chunks are hashed, and their spans noted.

use std::io::Read;

use accel_driver::{Cut, DriverError, Sink};
use accel_stream::{Compression, LayerReader, LayerSums, Limits};

use super::back::Record;
use super::spans::Spans;
use crate::layer::front::{Contents, Entries, Layer, read_payload};
use crate::tree::Tree;

/// The layer's contents.
pub(super) struct Referred<'s> {
    sink: &'s mut Sink<Record>,
    spans: Spans,
}

impl<'s> Referred<'s> {
    pub(super) fn new(sink: &'s mut Sink<Record>) -> Self {
        Self { sink, spans: Spans::default() }
    }
}

impl Contents for Referred<'_> {
    fn open(&self, blob: Box<dyn Read + Send>, limits: Limits) -> Result<Layer, DriverError> {
        let mut layer = LayerReader::with_points(blob, limits);
        match layer.compression()? {
            Compression::Gzip => Ok(layer),
            Compression::Zstd => Err(refused(
                "it is compressed with zstd, and `oci_ref` refers to gzip alone: leave it out for this image",
            )),
            Compression::Plain => {
                Err(refused("it is not compressed, and `oci_ref` refers to gzip alone: leave it out for this image"))
            }
        }
    }

    fn chunk(&mut self, entries: &mut Entries, bytes: usize, _cut: Cut) -> Result<(), DriverError> {
        let began = self.spans.begin(entries.inner(), bytes as u64);
        let began = began.map_err(|reason| DriverError::unrepresentable(&entries.entry().path, reason))?;
        let index = self.sink.chunk(bytes, Cut::SameMember, |buffer| read_payload(entries, buffer))?;
        let place = self.spans.end_chunk(entries.inner(), began, bytes as u64);
        self.sink.record(Record::Chunk(index, place));
        Ok(())
    }

    fn end(self, mut layer: Layer, tree: Box<Tree>) -> Result<LayerSums, DriverError> {
        let spans = self.spans.end(&mut layer)?.map_err(refused)?;
        let sums = layer.finish()?;
        self.sink.record(Record::End { tree, spans, sums });
        Ok(sums)
    }
}

/// The layer as a whole cannot be referred to.
fn refused(reason: &'static str) -> DriverError {
    DriverError::unrepresentable(b"/", reason)
}
