//! What may be wrong with something that is read from AWS, in the words of whoever has to put it right.

use accel_domain::ErrorClass;

/// Why something in AWS could not be read. Never holds what was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It is not there.
    #[error("does not exist in this account and region: create it, or correct its name")]
    Missing,
    /// The function's role does not allow it.
    #[error(
        "may not be read: the function's role needs {0} for it, and kms:Decrypt where a key of its own encrypts it"
    )]
    Denied(&'static str),
    /// It is binary.
    #[error("is not text: store it as a string")]
    NotText,
    /// It is no JSON object, or has no text under this key.
    #[error("is not a JSON object with text under the key `{0}`")]
    NoKey(String),
    /// AWS did not answer, or not in a way that says more.
    #[error("could not be read: {0}")]
    Unreachable(String),
}

impl RemoteError {
    /// Whether a later attempt may find it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable(_) => ErrorClass::BACKOFF,
            Self::Missing | Self::Denied(_) | Self::NotText | Self::NoKey(_) => ErrorClass::Permanent,
        }
    }
}
