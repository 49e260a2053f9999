//! Why an invocation fails as a whole, under names that alarms can tell apart.

use std::fmt;

use accel_runtime::config::LoadError;
use accel_tasks::StoreError;
use lambda_runtime::Diagnostic;

#[derive(thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Configuration(#[from] LoadError),
    #[error("the sweeper failed; it is due again in a minute")]
    Sweep(#[from] StoreError),
}

/// With its causes, as the runtime logs it.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause = std::error::Error::source(self);
        write!(f, "{self}")?;
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        let name = match failure {
            Failure::Configuration(_) => "Configuration",
            Failure::Sweep(_) => "Sweep",
        };
        Self { error_type: name.to_owned(), error_message: format!("{failure:?}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_name_and_its_causes() {
        let failure = Diagnostic::from(Failure::from(StoreError::Unavailable("Query: time-out".to_owned())));
        assert_eq!(failure.error_type, "Sweep");
        assert!(failure.error_message.ends_with("the task store failed: Query: time-out"), "{}", failure.error_message);
        let failure = Diagnostic::from(Failure::from(LoadError::Nowhere));
        assert_eq!(failure.error_type, "Configuration");
    }
}
