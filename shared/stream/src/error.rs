//! What can go wrong between a blob and its entries.
//!
//! Every message names the limit or the place; entry paths are shown escaped and shortened, never raw.

use std::io;

use accel_domain::ErrorClass;

use crate::Compression;

/// Characters of an entry's path that a message shows.
const SHOWN_CHARS: usize = 160;

/// Why a layer cannot be read on.
///
/// Offsets are bytes from the start of the blob in the variants about compression, and bytes from the start of the
/// uncompressed tar in those about tar.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The source itself failed.
    #[error("cannot read the layer's bytes")]
    Read(#[source] io::Error),
    /// The sender of a [`crate::bridge`] was dropped before it said that the body is whole.
    #[error("the layer's download was cut off")]
    Cut,
    /// A reader was used again after it had failed; the first error is the one to report.
    #[error("the layer cannot be read on after an earlier error")]
    AfterFailure,

    /// The blob ends within its compressed data.
    #[error("{compression} data ends too early, at byte {offset} of the blob")]
    Truncated {
        /// What was being decompressed.
        compression: Compression,
        /// Where the blob ended.
        offset: u64,
    },
    /// The decoder met data that no encoder writes.
    #[error("damaged {compression} data near byte {offset} of the blob: {fault}")]
    Corrupt {
        /// What was being decompressed.
        compression: Compression,
        /// Where the decoder stood.
        offset: u64,
        /// The decoder's words.
        fault: String,
    },
    /// A gzip member's CRC-32 or length does not fit what was decompressed.
    #[error("wrong {sum} in the gzip member that ends before byte {offset} of the blob")]
    Checksum {
        /// Which sum: `crc-32`, `length` or `header crc`.
        sum: &'static str,
        /// The end of the sum.
        offset: u64,
    },
    /// Something that is neither compressed data nor padding follows it.
    #[error("unknown bytes after the {compression} data, at byte {offset} of the blob")]
    TrailingGarbage {
        /// What was being decompressed.
        compression: Compression,
        /// Where the unknown bytes begin.
        offset: u64,
    },
    /// A zstd frame wants a larger window than [`crate::Limits::zstd_window_bytes`].
    #[error("the zstd frame at byte {offset} wants a window of {window_bytes} bytes, the limit is {limit}")]
    WindowTooLarge {
        /// Start of the frame.
        offset: u64,
        /// What the frame wants.
        window_bytes: u64,
        /// What it may have.
        limit: u64,
    },
    /// A zstd frame was written with a dictionary, which no layer comes with.
    #[error("the zstd frame at byte {offset} needs a dictionary")]
    Dictionary {
        /// Start of the frame.
        offset: u64,
    },

    /// More than [`crate::Limits::layer_bytes`].
    #[error("the uncompressed layer is larger than the limit of {limit} bytes")]
    LayerTooLarge {
        /// The limit.
        limit: u64,
    },
    /// More than [`crate::Limits::ratio`].
    #[error("{compressed} compressed bytes became {uncompressed}, more than the limit of {limit} to 1")]
    RatioTooHigh {
        /// Bytes of the blob so far.
        compressed: u64,
        /// Bytes of the tar so far.
        uncompressed: u64,
        /// The limit.
        limit: u64,
    },
    /// More than [`crate::Limits::entries`].
    #[error("the layer has more entries than the limit of {limit}")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// A path or link target beyond [`crate::Limits::path_bytes`].
    #[error("path of {bytes} bytes at byte {offset} of the tar, the limit is {limit}: `{path}`")]
    PathTooLong {
        /// The start of the path, or of the link target.
        path: String,
        /// The entry's first header block.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Extension headers beyond [`crate::Limits::pax_bytes`].
    #[error("extension headers of {bytes} bytes at byte {offset} of the tar, the limit is {limit}")]
    ExtensionTooLarge {
        /// The entry's first header block.
        offset: u64,
        /// Their length as far as it is known.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// An entry that claims more bytes than [`crate::Limits::layer_bytes`].
    #[error("`{path}` at byte {offset} of the tar claims {bytes} bytes, the limit of a layer is {limit}")]
    EntryTooLarge {
        /// The entry.
        path: String,
        /// Its first header block.
        offset: u64,
        /// What it claims.
        bytes: u64,
        /// The limit.
        limit: u64,
    },

    /// The tar ends within an entry or a block.
    #[error("the tar ends too early, at byte {offset}, in `{path}`")]
    TarTruncated {
        /// The entry that was being read; empty if the tar ended in its first header block.
        path: String,
        /// Where the tar ended.
        offset: u64,
    },
    /// The checksum of a header block is wrong: this is no tar header.
    #[error("no tar header at byte {offset} of the tar: wrong checksum")]
    HeaderChecksum {
        /// The block.
        offset: u64,
    },
    /// A number in a header block is not one, or is out of range.
    #[error("the {field} of `{path}` at byte {offset} of the tar is not a number we can use")]
    Number {
        /// The entry.
        path: String,
        /// Its first header block.
        offset: u64,
        /// The field of the header.
        field: &'static str,
    },
    /// A PAX record that is malformed.
    #[error("malformed PAX record in the header at byte {offset} of the tar")]
    Pax {
        /// The extension header's block.
        offset: u64,
        /// What is wrong with it.
        #[source]
        fault: PaxFault,
    },
    /// An extension header that no entry follows.
    #[error("no entry follows the extension header at byte {offset} of the tar")]
    DanglingExtension {
        /// The first extension header's block.
        offset: u64,
    },
    /// One block of zeros with more tar behind it.
    #[error("a single block of zeros at byte {offset} of the tar, with more behind it")]
    LoneZeroBlock {
        /// The block of zeros.
        offset: u64,
    },
}

/// What is wrong with a PAX record. Spec: POSIX pax, "pax Extended Header".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaxFault {
    /// The length in front is no number, or does not fit the record.
    #[error("its length is wrong")]
    Length,
    /// The record does not end in a newline.
    #[error("it does not end in a newline")]
    Newline,
    /// There is no key, or no `=` after it.
    #[error("it has no key")]
    Key,
    /// A NUL where none may be.
    #[error("there is a NUL in `{key}`")]
    Nul {
        /// The key.
        key: String,
    },
    /// The value of a numeric key is not a number, or is out of range.
    #[error("the value of `{key}` is not a number we can use")]
    Number {
        /// The key.
        key: &'static str,
    },
}

impl StreamError {
    /// Takes the typed error out of one that came through [`io::Read`]; a foreign one becomes [`StreamError::Read`].
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Read)
    }

    /// What this error means for the task.
    ///
    /// Data that is cut or damaged may be whole the next time: damage on the way shows up here before the digest of
    /// the blob can be compared. Everything else lies in the image.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Read(_)
            | Self::Cut
            | Self::AfterFailure
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::Checksum { .. }
            | Self::TarTruncated { .. } => ErrorClass::BACKOFF,
            Self::TrailingGarbage { .. }
            | Self::WindowTooLarge { .. }
            | Self::Dictionary { .. }
            | Self::LayerTooLarge { .. }
            | Self::RatioTooHigh { .. }
            | Self::TooManyEntries { .. }
            | Self::PathTooLong { .. }
            | Self::ExtensionTooLarge { .. }
            | Self::EntryTooLarge { .. }
            | Self::HeaderChecksum { .. }
            | Self::Number { .. }
            | Self::Pax { .. }
            | Self::DanglingExtension { .. }
            | Self::LoneZeroBlock { .. } => ErrorClass::Permanent,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Cut | Self::Truncated { .. } | Self::TarTruncated { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Read(error) => error,
            error => Self::new(error.kind(), error),
        }
    }
}

/// A path from a tar as messages show it: lossily decoded, escaped, shortened.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(&path[..path.len().min(4 * SHOWN_CHARS)]);
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_type_through_io() {
        let typed = StreamError::from_io(StreamError::LayerTooLarge { limit: 7 }.into());
        assert!(matches!(typed, StreamError::LayerTooLarge { limit: 7 }));
        let foreign = StreamError::from_io(io::ErrorKind::ConnectionReset.into());
        let StreamError::Read(inner) = foreign else { panic!("{foreign:?}") };
        let again = io::Error::from(StreamError::Read(inner));
        assert_eq!(again.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(io::Error::from(StreamError::Cut).kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn shows_hostile_paths_harmlessly() {
        assert_eq!(shown(b"a\nb\x1b[31m\xff"), "a\\nb\\u{1b}[31m\u{fffd}");
        let long = shown(&[b'x'; 5000]);
        assert_eq!(long.len(), SHOWN_CHARS + 3);
        assert!(long.ends_with("..."));
    }

    #[test]
    fn tells_damage_from_faults_of_the_image() {
        let damaged = StreamError::Checksum { sum: "crc-32", offset: 9 };
        assert_eq!(damaged.class(), ErrorClass::BACKOFF);
        assert_eq!(StreamError::Cut.class(), ErrorClass::BACKOFF);
        assert_eq!(StreamError::TooManyEntries { limit: 1 }.class(), ErrorClass::Permanent);
    }
}
