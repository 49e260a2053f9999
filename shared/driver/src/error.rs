//! Why a layer was not converted.

use std::io;

use accel_domain::ErrorClass;
use accel_image::Digest;
use accel_stream::StreamError;

/// Why a layer was not converted.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The source layer is broken, cut off, or beyond a limit.
    #[error(transparent)]
    Source(#[from] StreamError),
    /// The format cannot hold this layer. It stays as it was; the image does not fail.
    #[error("{path}: {reason}")]
    Unrepresentable {
        /// The entry, shortened and escaped.
        path: String,
        /// What about it cannot be held.
        reason: &'static str,
    },
    /// The format cannot hold what the image's layers are together.
    #[error("layer {layer}: {path}: {reason}")]
    Unmergeable {
        /// The source layer.
        layer: Digest,
        /// The entry, shortened and escaped.
        path: String,
        /// What about it cannot be held.
        reason: String,
    },
    /// A converted layer is not what was written.
    #[error(
        "the registry's copy of the converted blob {digest} is damaged: {reason}; remove it and convert the image again"
    )]
    Damaged {
        /// The converted blob.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// The layer came out differently when it was read again.
    #[error("the layer's bytes were different when it was read again")]
    Changed,
    /// Whoever takes the converted bytes does not take any more; it knows why.
    #[error("the converted layer could not be sent on")]
    Output(#[source] io::Error),
    /// The compressor refused its input, or a compression thread is gone.
    #[error("compression failed")]
    Codec,
}

impl DriverError {
    /// What the error means for the task.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => error.class(),
            Self::Unrepresentable { .. } | Self::Unmergeable { .. } => ErrorClass::Permanent,
            Self::Damaged { .. } | Self::Changed | Self::Output(_) | Self::Codec => ErrorClass::BACKOFF,
        }
    }

    /// An entry that the format cannot hold.
    #[must_use]
    pub fn unrepresentable(path: &[u8], reason: &'static str) -> Self {
        Self::Unrepresentable { path: shown(path), reason }
    }

    /// An entry of the source layer `layer` that the image cannot hold.
    #[must_use]
    pub fn unmergeable(layer: Digest, path: &[u8], reason: impl Into<String>) -> Self {
        Self::Unmergeable { layer, path: shown(path), reason: reason.into() }
    }
}

fn shown(path: &[u8]) -> String {
    let path: String = String::from_utf8_lossy(path).chars().take(200).collect();
    path.escape_debug().to_string()
}
