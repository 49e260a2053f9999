//! The bootstrap that the blob of a layer ends with, for those who have the blob and nothing else.

use std::io::Read;

use accel_image::Digest;

use super::fault::FormatError;
use super::superblock::Bootstrap;
use super::tail::{Section, Sections, TAIL_BYTES};
use super::v5::tail as v5;
use crate::version::Version;

/// Where in its blob a layer's own bootstrap lies.
pub struct OwnBootstrap(Place);

enum Place {
    V5 { from: u64, bytes: u64 },
    V6(Sections),
}

impl OwnBootstrap {
    /// How many bytes of the end of a blob say where it is.
    #[must_use]
    pub const fn tail_bytes(version: Version) -> u64 {
        match version {
            Version::V5 => v5::TAIL_BYTES,
            Version::V6 => TAIL_BYTES,
        }
    }

    /// Finds it from `tail`, the last bytes of a blob of `blob_bytes`, or all of them if there are fewer.
    ///
    /// # Errors
    /// The blob does not end as those of layers do.
    pub fn find(version: Version, tail: &[u8], blob_bytes: u64) -> Result<Self, FormatError> {
        Ok(Self(match version {
            Version::V5 => {
                let (from, bytes) = v5::range(tail, blob_bytes)?;
                Place::V5 { from, bytes }
            }
            Version::V6 => Place::V6(Sections::find(tail, blob_bytes)?),
        }))
    }

    /// Where it begins.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match &self.0 {
            Place::V5 { from, .. } => *from,
            Place::V6(sections) => sections.bootstrap.offset,
        }
    }

    /// How many bytes it has, as it is read.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match &self.0 {
            Place::V5 { bytes, .. } => *bytes,
            Place::V6(sections) => sections.bootstrap.bytes,
        }
    }

    /// How many bytes it has in the blob.
    pub(crate) const fn stored_bytes(&self) -> u64 {
        match &self.0 {
            Place::V5 { bytes, .. } => *bytes,
            Place::V6(sections) => sections.bootstrap.stored_bytes,
        }
    }

    /// What the table of contents says of array and header of `blob.meta`; nothing if the layer has no contents, or is of
    /// RAFS v5.
    pub(crate) const fn meta(&self) -> Option<(Section, Section)> {
        match &self.0 {
            Place::V5 { .. } => None,
            Place::V6(sections) => sections.meta,
        }
    }

    /// Reads it from `blob`, which stands at its beginning.
    ///
    /// # Errors
    /// It is not what the end of the blob says, or no bootstrap; or its bytes did not all come.
    pub fn read(&self, blob: &mut dyn Read) -> Result<Bootstrap, FormatError> {
        self.read_hashed(blob).map(|(bootstrap, _)| bootstrap)
    }

    /// The same, with the digest of its bytes.
    pub(crate) fn read_hashed(&self, blob: &mut dyn Read) -> Result<(Bootstrap, Digest), FormatError> {
        let (bytes, digest) = match &self.0 {
            Place::V5 { bytes, .. } => v5::read(blob, *bytes)?,
            Place::V6(sections) => (sections.bootstrap.read(blob)?, sections.bootstrap.digest),
        };
        Ok((Bootstrap::parse(bytes)?, digest))
    }
}
