//! What can be wrong with a blob that says it is eStargz.

use std::io;

use accel_stream::StreamError;

/// What is wrong with a blob that says it is eStargz.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The footer is not one, or points nowhere.
    #[error("the footer is wrong: {0}")]
    Footer(&'static str),
    /// The TOC's member does not hold what it must.
    #[error("the member of the TOC is wrong: {0}")]
    TocMember(&'static str),
    /// The TOC is not the JSON that it must be.
    #[error("the TOC cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    /// The TOC has another digest than it should.
    #[error("the TOC's digest is {found}, {expected} was expected")]
    TocDigest {
        /// What was promised.
        expected: accel_image::Digest,
        /// What it is.
        found: accel_image::Digest,
    },
    /// One entry of the TOC is longer than any honest one.
    #[error("an entry of the TOC is longer than {limit} bytes")]
    EntryTooLong {
        /// The limit.
        limit: u64,
    },
    /// More entries than the limit.
    #[error("the TOC has more entries than the limit of {limit}")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// TOC and tar do not say the same of an entry.
    #[error("{path}: {what}")]
    Entry {
        /// The entry, shortened and escaped.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The blob cannot be decompressed, or is no tar.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl FormatError {
    pub(super) fn entry(path: &[u8], what: impl Into<String>) -> Self {
        Self::Entry { path: shown(path), what: what.into() }
    }

    /// Takes the typed error out of one that came through [`io::Read`].
    pub(super) fn from_io(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|error| Self::Stream(StreamError::from_io(error)))
    }

    /// Whether the blob's bytes did not all come: says nothing of the blob.
    #[must_use]
    pub const fn is_of_the_source(&self) -> bool {
        matches!(self, Self::Stream(StreamError::Read(_) | StreamError::Cut | StreamError::AfterFailure))
    }
}

impl From<FormatError> for io::Error {
    fn from(error: FormatError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &[u8]) -> String {
    let path: String = String::from_utf8_lossy(path).chars().take(200).collect();
    path.escape_debug().to_string()
}
