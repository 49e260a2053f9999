//! What kind of request it is.

use accel_registry_server::Target;
use axum::http::{Method, Uri};

/// The kinds of requests that faults and assertions tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// `GET /v2/`
    Ping,
    /// `/token`
    Token,
    /// `HEAD` of a manifest.
    ManifestHead,
    /// `GET` of a manifest.
    ManifestGet,
    /// `PUT` of a manifest.
    ManifestPut,
    /// `DELETE` of a manifest.
    ManifestDelete,
    /// `HEAD` of a blob.
    BlobHead,
    /// `GET` of a blob.
    BlobGet,
    /// `DELETE` of a blob.
    BlobDelete,
    /// `POST` that opens an upload.
    UploadStart,
    /// `POST` that mounts a blob.
    Mount,
    /// `PATCH` of an upload.
    UploadPatch,
    /// `GET` of an upload.
    UploadStatus,
    /// `PUT` that closes an upload.
    UploadPut,
    /// `DELETE` of an upload.
    UploadDelete,
    /// `GET` of referrers.
    Referrers,
    /// `GET` of tags or of the catalog.
    List,
    /// Anything else.
    Other,
}

impl Request {
    /// The kind of a request.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri) -> Self {
        if uri.path() == "/token" {
            return Self::Token;
        }
        let Some(target) = Target::parse(uri.path()) else { return Self::Other };
        match (method.as_str(), target) {
            ("GET" | "HEAD", Target::Base) => Self::Ping,
            ("HEAD", Target::Manifest { .. }) => Self::ManifestHead,
            ("GET", Target::Manifest { .. }) => Self::ManifestGet,
            ("PUT", Target::Manifest { .. }) => Self::ManifestPut,
            ("DELETE", Target::Manifest { .. }) => Self::ManifestDelete,
            ("HEAD", Target::Blob { .. }) => Self::BlobHead,
            ("GET", Target::Blob { .. }) => Self::BlobGet,
            ("DELETE", Target::Blob { .. }) => Self::BlobDelete,
            ("POST", Target::Uploads { .. }) if uri.query().is_some_and(names_mount) => Self::Mount,
            ("POST", Target::Uploads { .. }) => Self::UploadStart,
            ("PATCH", Target::Upload { .. }) => Self::UploadPatch,
            ("GET", Target::Upload { .. }) => Self::UploadStatus,
            ("PUT", Target::Upload { .. }) => Self::UploadPut,
            ("DELETE", Target::Upload { .. }) => Self::UploadDelete,
            ("GET", Target::Referrers { .. }) => Self::Referrers,
            ("GET", Target::Tags { .. } | Target::Catalog) => Self::List,
            _ => Self::Other,
        }
    }

    /// Whether its body is content on the way up.
    #[must_use]
    pub const fn uploads(self) -> bool {
        matches!(self, Self::UploadStart | Self::UploadPatch | Self::UploadPut)
    }
}

fn names_mount(query: &str) -> bool {
    query.split('&').any(|pair| pair.starts_with("mount="))
}
