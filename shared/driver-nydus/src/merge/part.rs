//! One converted layer, read back from its blob in two requests.

use std::io::Read;

use accel_driver::{Blobs, DriverError, Part};
use accel_image::Digest;
use accel_stream::StreamError;

use crate::reader::tail::{Sections, TAIL_BYTES};
use crate::reader::{Bootstrap, FormatError};

/// What a merge needs of a layer.
pub(super) struct Layer {
    pub(super) bootstrap: Bootstrap,
    /// The digest of the bootstrap's bytes.
    pub(super) digest: Digest,
    /// Array and header of `blob.meta` as runtimes keep them; empty if the layer has no contents.
    pub(super) meta: Vec<u8>,
}

/// Reads a layer's sections.
pub(super) fn read(part: &Part, blobs: &mut dyn Blobs) -> Result<Layer, DriverError> {
    let told = |fault: FormatError| match fault {
        FormatError::Stream(error) => DriverError::Source(error),
        fault => DriverError::Damaged { digest: part.digest, reason: fault.to_string() },
    };
    let source = |error| DriverError::Source(StreamError::from_io(error));

    let tail_bytes = part.size.min(TAIL_BYTES);
    let mut tail = Vec::with_capacity(tail_bytes as usize);
    blobs.read(part, part.size - tail_bytes, tail_bytes).map_err(source)?.read_to_end(&mut tail).map_err(source)?;
    let sections = Sections::find(&tail, part.size).map_err(told)?;

    let (from, len) = sections.range();
    let mut range = blobs.read(part, from, len).map_err(source)?;
    read_sections(&sections, &mut *range).map_err(told)
}

fn read_sections(sections: &Sections, range: &mut dyn Read) -> Result<Layer, FormatError> {
    let mut meta = Vec::new();
    let mut at = sections.range().0;
    if let Some((array, header)) = sections.meta {
        meta = array.read(range)?;
        meta.resize(meta.len().next_multiple_of(4096), 0);
        meta.extend(header.read(range)?);
        at = header.end();
    }
    skip(range, sections.bootstrap.offset - at)?;
    let bootstrap = Bootstrap::parse(sections.bootstrap.read(range)?)?;
    Ok(Layer { bootstrap, digest: sections.bootstrap.digest, meta })
}

fn skip(range: &mut dyn Read, bytes: u64) -> Result<(), FormatError> {
    std::io::copy(&mut range.take(bytes), &mut std::io::sink()).map_err(FormatError::from_io)?;
    Ok(())
}
