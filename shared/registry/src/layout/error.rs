//! What can be wrong with a layout.

use std::path::{Path, PathBuf};

use accel_domain::ErrorClass;
use accel_image::{Digest, DocumentError};

/// An error of a layout on disk.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A text that names no layout.
    #[error("`{0}` names no OCI layout: write oci:DIR:TAG or oci-archive:FILE:TAG")]
    Name(String),
    /// The disk.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done with it.
        doing: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{} is no OCI layout: {reason}", path.display())]
    NotALayout {
        /// The directory or archive.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was opened for reading.
    #[error("{} was opened for reading only", path.display())]
    ReadOnly {
        /// The directory or archive.
        path: PathBuf,
    },
    /// There is no such manifest.
    #[error("{} holds no manifest `{key}`, it has {known}", path.display())]
    ManifestNotFound {
        /// The directory or archive.
        path: PathBuf,
        /// The tag or digest.
        key: String,
        /// The tags that are there.
        known: String,
    },
    /// There is no such blob.
    #[error("{} holds no blob {digest}", path.display())]
    BlobNotFound {
        /// The directory or archive.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// A blob is not what its digest or size says.
    #[error("{}: blob {digest} should have {size} bytes, {found}", path.display())]
    Mismatch {
        /// The directory or archive.
        path: PathBuf,
        /// The digest asked for.
        digest: Digest,
        /// The size it should have.
        size: u64,
        /// What is there instead.
        found: String,
    },
    /// More was asked for than may be kept in memory, or than there is.
    #[error("{}: bytes {offset} to {end} of blob {digest} are past the limit of {limit}", path.display())]
    Range {
        /// The directory or archive.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// The first byte.
        offset: u64,
        /// The byte after the last.
        end: u64,
        /// The limit.
        limit: u64,
    },
    /// A manifest cannot be read.
    #[error("{}: manifest `{key}`: {source}", path.display())]
    Document {
        /// The directory or archive.
        path: PathBuf,
        /// The tag or digest.
        key: String,
        /// Why.
        source: DocumentError,
    },
}

impl LayoutError {
    /// What it means for the task that met it: a disk does not get better by waiting.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_)
            | Self::Io { .. }
            | Self::NotALayout { .. }
            | Self::ReadOnly { .. }
            | Self::ManifestNotFound { .. }
            | Self::BlobNotFound { .. }
            | Self::Mismatch { .. }
            | Self::Range { .. }
            | Self::Document { .. } => ErrorClass::Permanent,
        }
    }

    /// For `map_err` on an I/O result.
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }
}
