//! What the registry tells its owner: which manifests were pushed and deleted, as Harbor's webhooks do.

use std::sync::Arc;

use accel_image::Digest;

/// What happened to a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It was pushed, whether or not it was there before.
    Push,
    /// It, or a tag that pointed at it, was deleted.
    Delete,
}

/// One change of a repository, told after it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub action: Action,
    /// The repository.
    pub repository: String,
    /// The tag that the request named; `None` if it named a digest.
    pub tag: Option<String>,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// Who did it, where the registry asks for credentials.
    pub operator: Option<String>,
}

/// The owner's callback. It is called on the request's task, so it must not block.
pub(crate) type Listener = Arc<dyn Fn(Notice) + Send + Sync>;
