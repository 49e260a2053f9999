//! What can be wrong with a bootstrap or a blob.

use std::io;

use accel_stream::StreamError;

/// What is wrong with a bootstrap, or with a blob that says it is Nydus.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is something else, or of a kind that is not read.
    #[error("it is no RAFS bootstrap that this version reads: {0}")]
    Kind(&'static str),
    /// A part lies outside.
    #[error("the bootstrap's {what} lies beyond its end, at byte {offset}")]
    Outside {
        /// The part.
        what: &'static str,
        /// Where it would begin.
        offset: u64,
    },
    /// A part contradicts itself or others.
    #[error("the bootstrap's {what} is wrong: {reason}")]
    Part {
        /// The part.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something about one file is wrong.
    #[error("{path}: {reason}")]
    File {
        /// The path, shortened and escaped.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More files than the limit.
    #[error("the bootstrap has more entries than the limit of {limit}")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// More chunks than the limit.
    #[error("the bootstrap's blobs hold more than {limit} chunks, the limit")]
    TooManyChunks {
        /// The limit.
        limit: u64,
    },
    /// The end of a blob does not say what it must.
    #[error("the end of the blob is wrong: {0}")]
    Tail(&'static str),
    /// A chunk is not what the bootstrap says.
    #[error("the chunk at byte {offset} of the blob: {reason}")]
    Chunk {
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bytes did not all come.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl FormatError {
    pub(super) const fn part(what: &'static str, reason: &'static str) -> Self {
        Self::Part { what, reason }
    }

    /// Says which file the fault is about, unless that is said.
    pub(super) fn of_file(self, path: &[u8]) -> Self {
        match self {
            Self::Outside { .. } | Self::Part { .. } => Self::File { path: shown(path), reason: self.to_string() },
            other => other,
        }
    }

    /// Takes the typed error out of one that came through [`io::Read`].
    pub(crate) fn from_io(error: io::Error) -> Self {
        Self::Stream(StreamError::from_io(error))
    }

    /// Whether the bytes did not all come: says nothing of the format.
    #[must_use]
    pub const fn is_of_the_source(&self) -> bool {
        matches!(self, Self::Stream(StreamError::Read(_) | StreamError::Cut | StreamError::AfterFailure))
    }
}

/// A path as messages show it.
fn shown(path: &[u8]) -> String {
    let path: String = String::from_utf8_lossy(path).chars().take(200).collect();
    format!("/{}", path.escape_debug())
}
