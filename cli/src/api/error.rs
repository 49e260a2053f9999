//! Why a server could not be asked, or what it had against it.

use accel_domain::ErrorClass;
use serde::Deserialize;

use crate::https::{self, NoAnswer};

/// An error of the HTTP API, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody listens there.
    #[error("no answer from {at} ({reason}): start Accel with `accelctl serve`, or say with --addr where it runs")]
    Unreachable { at: String, reason: String },
    /// The connection was there, and broke.
    #[error("the connection to {at} broke ({reason}); `accelctl task list` shows what became of the request")]
    Broken { at: String, reason: String },
    /// A header is needed.
    #[error(
        "{at} refuses who sends no Authorization header: set the environment variable {variable} to its value (an \
         image of a registry that the server does not know is refused in the same way)"
    )]
    NoHeader { at: String, variable: String },
    /// The header is not the right one.
    #[error("{at} does not accept the Authorization header that {variable} holds, or not for this registry or project")]
    WrongHeader { at: String, variable: String },
    /// The server says no.
    #[error("{at} answered {status}: {message}")]
    Refused { at: String, status: u16, code: String, message: String },
    /// Something else than Accel answers.
    #[error("{at} does not answer as Accel does: {reason}")]
    NotAccel { at: String, reason: String },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    code: String,
    message: String,
}

impl ApiError {
    pub(super) fn of_none(at: String, none: NoAnswer) -> Self {
        match none {
            NoAnswer::Unreachable(reason) => Self::Unreachable { at, reason },
            NoAnswer::Broken(reason) => Self::Broken { at, reason },
            NoAnswer::Strange(reason) => Self::NotAccel { at, reason },
        }
    }

    pub(super) fn of_body(at: String, status: u16, body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        Self::Refused { at, status, code: body.code, message: https::told(&body.message) }
    }

    /// Whether it may go well later.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => ErrorClass::BACKOFF,
            Self::Refused { status, .. } => https::class(*status),
            Self::NoHeader { .. } | Self::WrongHeader { .. } | Self::NotAccel { .. } => ErrorClass::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_error_is_a_failure() {
        let rows = [
            (404, r#"{"code":"ERR_NOT_FOUND","message":"no task x"}"#, "no task x", false),
            (400, r#"{"code":"ERR_ILLEGAL_PARAMETER","message":"bad\u001b[2J name"}"#, "bad [2J name", false),
            (500, r#"{"code":"ERR_CONVERT_FAILED","message":"not stored"}"#, "not stored", true),
            (502, "<html>", "does not say why", true),
            (503, r#"{"message":"Service Unavailable"}"#, "Service Unavailable", true),
            (429, "{}", "does not say why", true),
        ];
        for (status, body, expected, later) in rows {
            let error = ApiError::of_body("http://h".to_owned(), status, body.as_bytes());
            let text = error.to_string();
            assert!(text.starts_with(&format!("http://h answered {status}: ")) && text.contains(expected), "{text}");
            assert_eq!(matches!(error.class(), ErrorClass::Transient(_)), later, "{status}");
        }
    }
}
