//! The entries of a source layer, numbered, without the format's own: a source may be eStargz already.

use std::io::Read;

use accel_driver::{DriverError, Source};
use accel_stream::{Entry, LayerReader, LayerSums, Limits, TarReader};

use crate::layout::is_reserved;
use crate::paths::clean;

/// Walks through one download of a layer.
pub(crate) struct Entries {
    tar: TarReader<LayerReader<Box<dyn Read + Send>>>,
    next: u32,
}

impl Entries {
    pub(crate) fn open(source: &mut dyn Source, limits: Limits) -> Result<Self, DriverError> {
        let reader = LayerReader::new(source.open()?, limits);
        Ok(Self { tar: TarReader::new(reader, limits), next: 0 })
    }

    /// Steps to the next entry and returns its ordinal.
    pub(crate) fn step(&mut self) -> Result<Option<u32>, DriverError> {
        while let Some(entry) = self.tar.next_entry()? {
            if may_be_reserved(&entry.path) && is_reserved(&clean(&entry.path)) {
                continue;
            }
            let ordinal = self.next;
            self.next += 1;
            return Ok(Some(ordinal));
        }
        Ok(None)
    }

    /// The entry that the latest step came to.
    pub(crate) fn current(&self) -> &Entry {
        self.tar.entry()
    }

    /// Reads payload of the current entry until `buffer` is full.
    pub(crate) fn read_payload(&mut self, buffer: &mut [u8]) -> Result<(), DriverError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.tar.read_payload(&mut buffer[filled..])? {
                0 => return Err(DriverError::Changed), // the walker itself fails where a payload is cut off
                read => filled += read,
            }
        }
        Ok(())
    }

    /// Reads to the very end of the blob.
    pub(crate) fn finish(self) -> Result<LayerSums, DriverError> {
        Ok(self.tar.into_inner().finish()?)
    }
}

/// Spares most names the cleaning.
fn may_be_reserved(name: &[u8]) -> bool {
    [&b"index.json"[..], b"landmark", b"/", b"."].iter().any(|end| name.ends_with(end))
}
