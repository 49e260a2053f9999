//! What the registry refuses, in the words of the specification. Spec: OCI distribution, "Error codes".

use accel_image::{Digest, DocumentError};
use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("no such resource or method")]
    Unsupported,
    #[error("`{0}` is not a repository name")]
    NameInvalid(String),
    #[error("repository `{0}` is not known")]
    NameUnknown(String),
    #[error("`{0}` is not a tag")]
    TagInvalid(String),
    #[error("`n` has to be a number")]
    PageInvalid,
    #[error("`{0}` is not a sha256 digest")]
    DigestMalformed(String),
    #[error("the content has digest {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    #[error("the upload session is not known")]
    UploadUnknown,
    #[error("the upload goes on at byte {offset}")]
    UploadOffset { offset: u64, location: String },
    #[error("the upload broke off: {0}")]
    UploadBroken(String),
    #[error("another request writes to this upload")]
    UploadTaken,
    #[error("the registry is full")]
    Full,
    #[error("bytes {0} are not in the blob")]
    RangeUnsatisfiable(u64),
    #[error("manifest `{0}` is not in this repository")]
    ManifestUnknown(String),
    #[error("the manifest has more than {0} bytes")]
    ManifestTooLarge(usize),
    #[error(transparent)]
    ManifestInvalid(#[from] DocumentError),
    #[error("the manifest names content that is not in this repository")]
    ManifestBlobUnknown(Vec<Digest>),
    #[error("authentication is required")]
    Unauthorized { challenge: String },
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::NameUnknown(_) | Self::BlobUnknown(_) | Self::UploadUnknown | Self::ManifestUnknown(_) => {
                StatusCode::NOT_FOUND
            }
            Self::UploadOffset { .. } | Self::RangeUnsatisfiable(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::UploadTaken => StatusCode::CONFLICT,
            Self::ManifestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Full => StatusCode::FORBIDDEN,
            Self::NameInvalid(_)
            | Self::TagInvalid(_)
            | Self::PageInvalid
            | Self::DigestMalformed(_)
            | Self::DigestMismatch { .. }
            | Self::UploadBroken(_)
            | Self::ManifestInvalid(_)
            | Self::ManifestBlobUnknown(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unsupported => "UNSUPPORTED",
            Self::NameInvalid(_) => "NAME_INVALID",
            Self::NameUnknown(_) => "NAME_UNKNOWN",
            Self::TagInvalid(_) => "TAG_INVALID",
            Self::PageInvalid => "PAGINATION_NUMBER_INVALID",
            Self::DigestMalformed(_) | Self::DigestMismatch { .. } => "DIGEST_INVALID",
            Self::BlobUnknown(_) => "BLOB_UNKNOWN",
            Self::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::UploadOffset { .. } | Self::UploadBroken(_) | Self::UploadTaken => "BLOB_UPLOAD_INVALID",
            Self::RangeUnsatisfiable(_) => "RANGE_INVALID",
            Self::ManifestUnknown(_) => "MANIFEST_UNKNOWN",
            Self::ManifestTooLarge(_) => "SIZE_INVALID",
            Self::ManifestInvalid(_) => "MANIFEST_INVALID",
            Self::ManifestBlobUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            Self::Unauthorized { .. } => "UNAUTHORIZED",
            Self::Full => "DENIED",
        }
    }

    /// One entry of the envelope, or one for each piece of missing content, as clients print them.
    fn envelope(&self) -> serde_json::Value {
        let entry = |detail| json!({"code": self.code(), "message": self.to_string(), "detail": detail});
        let errors = match self {
            Self::ManifestBlobUnknown(missing) => missing.iter().map(|d| entry(json!({"digest": d}))).collect(),
            _ => vec![entry(json!(null))],
        };
        json!({ "errors": errors })
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::Unauthorized { challenge } => put(&mut headers, header::WWW_AUTHENTICATE, challenge),
            Self::RangeUnsatisfiable(size) => put(&mut headers, header::CONTENT_RANGE, &format!("bytes */{size}")),
            Self::UploadOffset { offset, location } => {
                put(&mut headers, header::LOCATION, location);
                put(&mut headers, header::RANGE, &format!("0-{}", offset.saturating_sub(1)));
            }
            _ => {}
        }
        headers
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status(), self.headers(), Json(self.envelope())).into_response()
    }
}
