//! Why an image was not converted.

use accel_domain::ErrorClass;
use accel_driver::DriverError;
use accel_image::{Digest, DocumentError};
use accel_registry::RegistryError;
use accel_tasks::StoreError;

use crate::watch::StopReason;

/// Why an image was not converted. The tag has not moved.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A registry or layout failed or refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer could not be read or converted.
    #[error("layer {layer}: {source}")]
    Layer {
        /// The source layer.
        layer: Digest,
        /// Why.
        source: DriverError,
    },
    /// The layers cannot be put together.
    #[error("image {image}: {source}")]
    Image {
        /// The source's manifest.
        image: Digest,
        /// Why not.
        source: DriverError,
    },
    /// A layer cannot be read, although its bytes are those that its image names.
    #[error("layer {layer}: {source}; its bytes are those that the image names, so the image itself is broken")]
    Damaged {
        /// The source layer.
        layer: Digest,
        /// What is wrong with it.
        source: DriverError,
    },
    /// A layer is not what its image says.
    #[error("layer {layer}: its {what} is {found}, the image says {expected}")]
    Mismatch {
        /// The source layer.
        layer: Digest,
        /// `digest`, `diff id` or `size`.
        what: &'static str,
        /// What the image says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A layer's bytes are not those of its digest, whenever they are read.
    #[error("{0}, twice: the registry's copy of the layer is damaged")]
    WrongTwice(RegistryError),
    /// A configuration cannot be read.
    #[error("configuration {digest}: {source}")]
    Config {
        /// The configuration.
        digest: Digest,
        /// Why.
        source: DocumentError,
    },
    /// The image is put together in a way that cannot be converted.
    #[error("{0}")]
    Unsupported(String),
    /// The chunk dictionary cannot be read, or cannot be referred to.
    #[error("chunk dictionary {what}: {source}")]
    Dictionary {
        /// The image, and the blob of it that is meant.
        what: String,
        /// Why not.
        source: Box<ConvertError>,
    },
    /// The target tag holds something that is not ours to replace.
    #[error(
        "{target} exists and was not made from this source: remove it, choose another target, or set `adopt: true` to replace it"
    )]
    NotOurs {
        /// The target.
        target: String,
    },
    /// A blob that the registry has had was gone when the manifest was put, twice.
    #[error("the registry lost blobs of {target} while it was pushed")]
    BlobsLost {
        /// The target.
        target: String,
    },
    /// The target lacks a blob of a manifest, and one of the chunk dictionary, which it may be, cannot be brought again.
    #[error(transparent)]
    LostBeside(Box<ConvertError>),
    /// Layer records could not be read or written.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// Somebody wants the conversion to stop.
    #[error("stopped: {0}")]
    Stopped(StopReason),
    /// A thread of the conversion panicked.
    #[error("an internal error ended the conversion of layer {0}")]
    Panicked(Digest),
    /// The thread that puts an image together panicked.
    #[error("an internal error ended the conversion of image {0}")]
    MergePanicked(Digest),
}

impl ConvertError {
    /// Whether a blob of the chunk dictionary is not there any more, or is another.
    pub(crate) fn is_of_a_lost_blob(&self) -> bool {
        let Self::Dictionary { source, .. } = self else { return false };
        match &**source {
            Self::WrongTwice(_) => true,
            Self::Registry(error) => error.is_of_the_blob(),
            _ => false,
        }
    }

    /// What the error means for the task.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Registry(error) => error.class(),
            Self::Layer { source, .. } | Self::Image { source, .. } => source.class(),
            Self::Records(error) => error.class(),
            Self::Dictionary { source, .. } | Self::LostBeside(source) => source.class(),
            Self::BlobsLost { .. } => ErrorClass::BACKOFF,
            // Where somebody else has the task, nothing is recorded; where only the target was lost, it goes on later.
            Self::Stopped(
                StopReason::Deadline | StopReason::Shutdown | StopReason::LayerFailed | StopReason::LeaseLost,
            ) => ErrorClass::Interrupted,
            Self::Damaged { .. }
            | Self::Mismatch { .. }
            | Self::WrongTwice(_)
            | Self::Config { .. }
            | Self::Unsupported(_)
            | Self::NotOurs { .. }
            | Self::Stopped(StopReason::Cancelled)
            | Self::Panicked(_)
            | Self::MergePanicked(_) => ErrorClass::Permanent,
        }
    }

    /// Whether bytes were read that are not those of their digest: they may be right when they are read once more.
    pub(crate) const fn may_be_damage_in_transit(&self) -> bool {
        matches!(
            self,
            Self::Registry(RegistryError::Mismatch { .. }) | Self::Image { source: DriverError::Damaged { .. }, .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stop_but_a_cancellation_ends_a_task() {
        for reason in [StopReason::Deadline, StopReason::Shutdown, StopReason::LayerFailed, StopReason::LeaseLost] {
            assert_eq!(ConvertError::Stopped(reason).class(), ErrorClass::Interrupted, "{reason}");
        }
        assert_eq!(ConvertError::Stopped(StopReason::Cancelled).class(), ErrorClass::Permanent);
    }
}
