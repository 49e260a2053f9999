//! The bootstrap that the blob of a layer ends with, for those who have the blob and nothing else.

use std::io::Read;

use super::fault::FormatError;
use super::superblock::Bootstrap;
use super::tail::{Section, Sections, TAIL_BYTES};
use super::v5::tail as v5;
use crate::bootstrap::v5::MOST_BYTES;
use crate::version::Version;

/// Where in its blob a layer's own bootstrap lies.
pub struct OwnBootstrap(Place);

enum Place {
    V5 { from: u64, bytes: u64 },
    V6(Section),
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
            Version::V6 => {
                let section = Sections::find(tail, blob_bytes)?.bootstrap;
                if section.bytes > MOST_BYTES {
                    return Err(FormatError::Tail("its bootstrap is larger than 1 GiB"));
                }
                Place::V6(section)
            }
        }))
    }

    /// Where it begins.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match &self.0 {
            Place::V5 { from, .. } => *from,
            Place::V6(section) => section.offset,
        }
    }

    /// Reads it from `blob`, which stands at its beginning.
    ///
    /// # Errors
    /// It is not what the end of the blob says, or no bootstrap; or its bytes did not all come.
    pub fn read(&self, blob: &mut dyn Read) -> Result<Bootstrap, FormatError> {
        Bootstrap::parse(match &self.0 {
            Place::V5 { bytes, .. } => v5::read(blob, *bytes)?.0,
            Place::V6(section) => section.read(blob)?,
        })
    }
}
