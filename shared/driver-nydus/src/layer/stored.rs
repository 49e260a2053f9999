//! Contents that are stored in the blob.

use std::io::Read;

use accel_driver::{Cut, DriverError, Sink};
use accel_stream::{LayerReader, LayerSums, Limits};

use super::back::Record;
use super::front::{Contents, Entries, Layer, read_payload};
use crate::tree::Tree;

/// Chunks go through the pool into the blob.
pub(super) struct Stored<'s>(pub(super) &'s mut Sink<Record>);

impl Contents for Stored<'_> {
    fn open(&self, blob: Box<dyn Read + Send>, limits: Limits) -> Result<Layer, DriverError> {
        Ok(LayerReader::new(blob, limits))
    }

    fn chunk(&mut self, entries: &mut Entries, bytes: usize, cut: Cut) -> Result<(), DriverError> {
        let index = self.0.chunk(bytes, cut, |buffer| read_payload(entries, buffer))?;
        self.0.record(Record::Chunk(index));
        Ok(())
    }

    fn end(self, layer: Layer, tree: Box<Tree>) -> Result<LayerSums, DriverError> {
        let sums = layer.finish()?;
        self.0.record(Record::Tree(tree));
        Ok(sums)
    }
}
