//! What the SDK's errors mean for what was read.

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};

use crate::remote::RemoteError;

/// The longest text of an error that is taken over.
const MOST_CHARS: usize = 300;

/// What `error` says. `action` is what the role has to allow. Neither requests nor answers are quoted: what was read
/// may be in them.
pub(super) fn problem<E, R>(error: &SdkError<E, R>, action: &'static str) -> RemoteError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    match error.code() {
        Some("ParameterNotFound" | "ParameterVersionNotFound" | "ResourceNotFoundException") => RemoteError::Missing,
        Some("AccessDeniedException" | "AccessDeniedFault") => RemoteError::Denied(action),
        Some(code) => RemoteError::Unreachable(code.chars().take(MOST_CHARS).collect()),
        None => RemoteError::Unreachable(chain(error)),
    }
}

/// The error and its causes, as each of them shows itself.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ").chars().take(MOST_CHARS).collect()
}
