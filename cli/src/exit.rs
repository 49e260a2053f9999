//! Exit codes, and how a failure is told.

use std::process::ExitCode;

use accel_domain::ErrorClass;
use accel_pipeline::{ConvertError, InspectError, VerifyError};
use accel_registry::{LayoutError, Refusal, RegistryError};
use accel_runtime::SecretError;
use accel_tasks::StoreError;

use crate::api::ApiError;
use crate::convert::{Moved, NotWritten};
use crate::harbor::HarborError;

/// It failed, and will fail again until something is changed.
pub(crate) const FAILED: u8 = 1;
/// It was asked for in a way that makes no sense; clap uses the same code.
pub(crate) const WRONG_USAGE: u8 = 2;
/// It may succeed when it is tried again later.
pub(crate) const TRY_AGAIN: u8 = 3;
/// It was compared, and differs.
pub(crate) const DIFFERS: u8 = 4;
/// There is no target, since the source is a result of Accel's itself.
pub(crate) const NOT_WRITTEN: u8 = 5;
/// It was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;
/// Nobody read what it wrote, as with SIGPIPE.
pub(crate) const PIPE_CLOSED: u8 = 141;

/// A failure whose exit code is known. What there was to say has been said.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct Quietly(pub(crate) u8);

/// The command line makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// Tells of a failure on standard error and gives its exit code.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(Quietly(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("error: {}", chain(&error));
    if let Some(hint) = hint(&error) {
        eprintln!("hint: {hint}");
    }
    if error.is::<WrongUsage>() {
        return ExitCode::from(WRONG_USAGE);
    }
    if error.is::<NotWritten>() {
        return ExitCode::from(NOT_WRITTEN);
    }
    ExitCode::from(match class(&error) {
        Some(ErrorClass::Transient(_)) => TRY_AGAIN,
        Some(ErrorClass::Interrupted) => INTERRUPTED,
        Some(ErrorClass::Permanent) | None => FAILED,
    })
}

/// The option that may help: the message itself speaks of the configuration.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<NotWritten>() {
        return Some("convert what it was made of; or copy the image as it is, with `skopeo copy --all` for one");
    }
    let convert = error.downcast_ref().or_else(|| within_verify(error)).or_else(|| within_inspect(error));
    let convert = convert.map(cause);
    let registry = match convert {
        Some(ConvertError::Registry(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    match (convert, registry) {
        (Some(ConvertError::NotOurs { .. }), _) => Some("--adopt replaces it"),
        (_, Some(RegistryError::Tls { .. })) => {
            Some("--plain-http HOST for a registry without TLS, --ca-file FILE for an authority of your own")
        }
        (_, Some(RegistryError::Refused(refused))) if refused.refusal == Refusal::Unauthorized => {
            Some("`docker login HOST`, --username NAME with --password-stdin, or --config FILE says who you are")
        }
        _ => None,
    }
}

/// What the error is about in the end.
fn cause(error: &ConvertError) -> &ConvertError {
    match error {
        ConvertError::Dictionary { source, .. } | ConvertError::LostBeside(source) => cause(source),
        error => error,
    }
}

fn within_verify(error: &anyhow::Error) -> Option<&ConvertError> {
    match error.downcast_ref()? {
        VerifyError::Image { source, .. } | VerifyError::Layer(source) => Some(source),
        VerifyError::NotAnImage { .. } => None,
    }
}

fn within_inspect(error: &anyhow::Error) -> Option<&ConvertError> {
    match error.downcast_ref()? {
        InspectError::Image(error) => Some(error),
        InspectError::NotAnImage(_) => None,
    }
}

/// The class of an error of ours, with or without context around it.
fn class(error: &anyhow::Error) -> Option<ErrorClass> {
    let classes = [
        error.downcast_ref().map(ConvertError::class),
        error.downcast_ref().map(VerifyError::class),
        error.downcast_ref().map(InspectError::class),
        error.downcast_ref().map(RegistryError::class),
        error.downcast_ref().map(LayoutError::class),
        error.downcast_ref().map(StoreError::class),
        error.downcast_ref().map(SecretError::class),
        error.downcast_ref().map(ApiError::class),
        error.downcast_ref().map(HarborError::class),
        error.downcast_ref().map(Moved::class),
    ];
    classes.into_iter().flatten().next()
}

/// The error with its causes, none said twice.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let next = cause.to_string();
        if text.is_empty() {
            text = next;
        } else if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use accel_registry::{Action, Object};
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_hint_is_found_under_the_name_of_the_dictionary() {
        let (host, repository) = ("h.example".to_owned(), "base/dictionary".to_owned());
        let action = Box::new(Action { method: "GET", host, repository, object: Object::Manifest("1".to_owned()) });
        let source = ConvertError::Registry(RegistryError::Tls { action, reason: "no certificate".to_owned() });
        let error =
            ConvertError::Dictionary { what: "h.example/base/dictionary:1".to_owned(), source: Box::new(source) };
        let told = hint(&anyhow::Error::new(error));
        assert!(told.is_some_and(|told| told.contains("--ca-file")), "{told:?}");
    }

    #[test]
    fn a_failure_that_may_pass_is_found_under_its_context() {
        let rows = [
            (anyhow::Error::new(Moved), Some(ErrorClass::BACKOFF)),
            (anyhow::Error::new(StoreError::InUse("x".to_owned())).context("more"), None),
            (anyhow::anyhow!("else"), None),
        ];
        assert_eq!(class(&rows[0].0), rows[0].1);
        assert_eq!(class(&rows[1].0), Some(StoreError::InUse(String::new()).class()));
        assert_eq!(class(&rows[2].0), rows[2].1);
    }

    #[test]
    fn says_each_cause_once() {
        let inner = std::io::Error::other("no room");
        let error = Err::<(), _>(inner).context("writing x: no room").context("converting").unwrap_err();
        assert_eq!(chain(&error), "converting: writing x: no room");
    }
}
