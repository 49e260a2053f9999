//! One converted layer, read back from its blob in two requests.

use std::io;

use accel_driver::{Blobs, DriverError, Part};
use accel_image::{Digest, Hasher};
use accel_stream::StreamError;

use crate::bootstrap::Blob;
use crate::hashed::Hashed;
use crate::layer::meta;
use crate::reader::tail::Section;
use crate::reader::{Bootstrap, FormatError, OwnBootstrap};
use crate::version::Version;

/// What a merge needs of a layer.
pub(super) struct Layer {
    pub(super) bootstrap: Bootstrap,
    /// The digest of the bootstrap's bytes.
    pub(super) digest: Digest,
    /// What the table of contents says of array and header of `blob.meta`; nothing if the layer has no contents, or is of
    /// RAFS v5.
    pub(super) meta: Option<(Section, Section)>,
}

/// Reads the end of a layer.
pub(super) fn read(part: &Part, blobs: &mut dyn Blobs, version: Version) -> Result<Layer, DriverError> {
    let told = |fault: FormatError| match fault {
        FormatError::Stream(error) => DriverError::Source(error),
        fault => DriverError::Damaged { digest: part.digest, reason: fault.to_string() },
    };
    let source = |error| DriverError::Source(StreamError::from_io(error));

    let tail_bytes = part.size.min(OwnBootstrap::tail_bytes(version));
    let mut tail = Vec::with_capacity(tail_bytes as usize);
    blobs.read(part, part.size - tail_bytes, tail_bytes).map_err(source)?.read_to_end(&mut tail).map_err(source)?;
    let own = OwnBootstrap::find(version, &tail, part.size).map_err(told)?;
    let mut stored = blobs.read(part, own.offset(), own.stored_bytes()).map_err(source)?;
    let (bootstrap, digest) = own.read_hashed(&mut *stored).map_err(told)?;
    Ok(Layer { bootstrap, digest, meta: own.meta() })
}

/// Whether the sections `array` and `header` say of the chunks what `blob`, which comes from the bootstrap, says.
pub(super) fn is_about(blob: &Blob, array: &Section, header: &Section) -> bool {
    let mut array_hashed = Hashed::new(io::sink());
    let hashed = meta::write_array(&blob.chunks, &mut array_hashed).is_ok();
    let mut header_hasher = Hasher::default();
    header_hasher.update(&meta::header(blob));
    hashed && array.holds(array_hashed.hasher) && header.holds(header_hasher)
}

/// Whether the section `array` is where `blob` says.
pub(super) fn is_at(blob: &Blob, array: &Section) -> bool {
    (array.offset, array.stored_bytes) == (blob.meta.offset, blob.meta.stored_bytes)
}
