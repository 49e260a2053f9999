//! What can go wrong at an end of the pipeline, and the class of each. Messages name method, host, repository and
//! object; they never hold a query string, a token or a password.

use std::fmt;
use std::time::Duration;

use accel_domain::ErrorClass;
use accel_image::{Digest, DocumentError};

use crate::{CredentialError, LayoutError, Refusal, Refused};

/// What was being done, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The method, `GET`.
    pub method: &'static str,
    /// The registry, as its settings name it.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// The object.
    pub object: Object,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// The manifest under a tag or digest.
    Manifest(String),
    /// A blob.
    Blob(Digest),
    /// A blob that is taken over from another repository.
    Mount(Digest),
    /// An upload whose digest is not known yet.
    Upload,
    /// The end of an upload.
    UploadOf(Digest),
    /// A token of the registry's realm.
    Token,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(key) => write!(f, "manifest {key}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Mount(digest) => write!(f, "mount of blob {digest}"),
            Self::Upload => f.write_str("upload"),
            Self::UploadOf(digest) => write!(f, "upload of blob {digest}"),
            Self::Token => f.write_str("token"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}/{}", self.method, self.object, self.host, self.repository)
    }
}

/// An error of a registry or of a layout.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The host has no settings, so nothing was sent.
    #[error(
        "registry {host} is not configured, so nothing was sent to it: add it under `registries`, or name it on the \
         command line"
    )]
    UnknownHost {
        /// The host of the reference.
        host: String,
    },
    /// The settings of a host cannot be used.
    #[error("settings of registry {host}: {reason}")]
    Settings {
        /// The host.
        host: String,
        /// What is wrong, without secrets.
        reason: String,
    },
    /// The login could not be looked up.
    #[error("looking up the login for {host}/{repository}: {source}")]
    Credentials {
        /// The host.
        host: String,
        /// The repository.
        repository: String,
        /// Why.
        source: CredentialError,
    },
    /// No connection, or it broke.
    #[error("{action}: {source}")]
    Network {
        /// What was being done.
        action: Box<Action>,
        /// The cause.
        source: NetworkError,
    },
    /// TLS could not be agreed on.
    #[error("{action}: TLS failed: {reason}")]
    Tls {
        /// What was being done.
        action: Box<Action>,
        /// Why, and what to configure.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("{action}: no answer for {waited:?}")]
    TimedOut {
        /// What was being done.
        action: Box<Action>,
        /// The limit that passed.
        waited: Duration,
    },
    /// The registry said no.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// A manifest was refused because a blob that it names is not there: that blob has to be pushed again.
    #[error("{0}")]
    ManifestBlobUnknown(Box<Refused>),
    /// A blob is not there.
    #[error("{0}")]
    BlobNotFound(Box<Refused>),
    /// A manifest is not there.
    #[error("{0}")]
    ManifestNotFound(Box<Refused>),
    /// An upload session is gone: the blob has to be pushed from its beginning.
    #[error("{action}: the upload is lost ({reason}), the blob has to be sent from its beginning")]
    UploadLost {
        /// What was being done.
        action: Box<Action>,
        /// How we know.
        reason: String,
    },
    /// The answer broke the protocol.
    #[error("{action}: {reason}")]
    Protocol {
        /// What was being done.
        action: Box<Action>,
        /// What is wrong with it.
        reason: String,
    },
    /// A redirect, a Location or a token realm points where nothing may be sent.
    #[error("{action}: refused to go on to {target}: {reason}")]
    Address {
        /// What was being done.
        action: Box<Action>,
        /// Scheme and host, never path or query.
        target: String,
        /// Why, and what to configure if it is meant.
        reason: String,
    },
    /// Bytes are not what their digest or size says.
    #[error("{action}: expected {expected} with {size} bytes, {found}")]
    Mismatch {
        /// What was being read.
        action: Box<Action>,
        /// The digest asked for.
        expected: Digest,
        /// The size it should have.
        size: u64,
        /// What came instead.
        found: String,
        /// Whether the same object was wrong before: then it will not get better.
        again: bool,
    },
    /// A body is larger than its limit.
    #[error("{action}: the body is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was being read.
        action: Box<Action>,
        /// The limit.
        limit: u64,
    },
    /// Bytes outside of a blob were asked for.
    #[error("{action}: bytes {offset} to {end} are outside of the blob's {size}")]
    OutOfRange {
        /// What was being read.
        action: Box<Action>,
        /// The first byte asked for.
        offset: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// The blob's size.
        size: u64,
    },
    /// A manifest cannot be read.
    #[error("{action}: {source} (the answer is `{content_type}`)")]
    Document {
        /// What was being read.
        action: Box<Action>,
        /// The Content-Type header, empty if there was none.
        content_type: String,
        /// Why.
        source: DocumentError,
    },
    /// The tag that lists the referrers of a manifest cannot be maintained.
    #[error("{tag} lists the referrers of a manifest, but {reason}")]
    Fallback {
        /// Registry, repository and tag.
        tag: String,
        /// Why not.
        reason: &'static str,
    },
    /// An OCI layout on disk.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A connection that could not be made or that broke. Its text holds no URL.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// As reqwest saw it, its URL taken away.
    #[error("{}", chain(.0))]
    Http(reqwest::Error),
    /// The body ended early.
    #[error("the body ended after {0} of {1} bytes")]
    Short(u64, u64),
}

impl From<reqwest::Error> for NetworkError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// An error with its causes: reqwest alone says only "error sending request".
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl RegistryError {
    /// What it means for the task that met it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Network { .. }
            | Self::TimedOut { .. }
            | Self::Credentials { source: CredentialError::Unavailable(_), .. }
            | Self::Mismatch { again: false, .. }
            | Self::ManifestBlobUnknown(_)
            | Self::UploadLost { .. } => ErrorClass::BACKOFF,
            Self::Refused(refused) => refused.refusal.class(refused.retry_after),
            Self::Layout(error) => error.class(),
            Self::UnknownHost { .. }
            | Self::Settings { .. }
            | Self::Tls { .. }
            | Self::Credentials { source: CredentialError::Unusable(_), .. }
            | Self::Mismatch { again: true, .. }
            | Self::BlobNotFound(_)
            | Self::ManifestNotFound(_)
            | Self::Protocol { .. }
            | Self::Address { .. }
            | Self::TooLarge { .. }
            | Self::OutOfRange { .. }
            | Self::Document { .. }
            | Self::Fallback { .. } => ErrorClass::Permanent,
        }
    }

    /// Whether a blob is not there, or is not what its digest and size say: what is wrong is the blob, not the way to it.
    #[must_use]
    pub const fn is_of_the_blob(&self) -> bool {
        matches!(
            self,
            Self::Mismatch { .. }
                | Self::BlobNotFound(_)
                | Self::Layout(LayoutError::Mismatch { .. } | LayoutError::BlobNotFound { .. })
        )
    }

    /// Whether the login was refused.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.refused().is_some_and(|refused| refused.refusal == Refusal::Unauthorized)
    }

    /// The answer that it came from, if the registry answered at all.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused)
            | Self::ManifestBlobUnknown(refused)
            | Self::BlobNotFound(refused)
            | Self::ManifestNotFound(refused) => Some(refused),
            Self::UnknownHost { .. }
            | Self::Settings { .. }
            | Self::Credentials { .. }
            | Self::Network { .. }
            | Self::Tls { .. }
            | Self::TimedOut { .. }
            | Self::UploadLost { .. }
            | Self::Protocol { .. }
            | Self::Address { .. }
            | Self::Mismatch { .. }
            | Self::TooLarge { .. }
            | Self::OutOfRange { .. }
            | Self::Document { .. }
            | Self::Fallback { .. }
            | Self::Layout(_) => None,
        }
    }
}
