//! What every function has: its environment, the configuration that it reads anew, logs and metrics.

mod answer;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use accel_domain::config::{Config, LogLevel};

use super::Aws;
use super::emf::{AlreadyMeasuring, Emf};
use crate::config::{LoadError, Location, Reloading};
use crate::metrics::Outlet;
use crate::telemetry::{AlreadyLogging, Level, init_function};
use crate::{Clock, Metrics, Secrets};

pub use answer::{HttpFunction, one_set};

/// The variable that says what is logged; the configuration does where it is not set.
const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Why a function cannot start.
#[derive(thiserror::Error)]
pub enum StartError {
    /// A variable that it needs is not there.
    #[error("the environment variable {0} is not set: the function's description in infra/ sets it")]
    Unset(&'static str),
    /// Nobody says where the configuration is.
    #[error(transparent)]
    Location(#[from] LoadError),
    /// It was started before.
    #[error(transparent)]
    Logging(#[from] AlreadyLogging),
    /// It was started before.
    #[error(transparent)]
    Measuring(#[from] AlreadyMeasuring),
}

/// As it is written for people: the last words of a program that ends with it.
impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An invocation of the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its id, as the logs of Lambda have it.
    pub request_id: String,
    /// When Lambda ends it.
    pub deadline: SystemTime,
}

impl Invocation {
    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

/// What a function lives in, from its start to its end.
pub struct Environment {
    aws: Aws,
    location: Location,
    clock: Clock,
    secrets: Arc<Secrets>,
    emf: Emf,
    level: Level,
    has_own_level: bool,
}

impl Environment {
    /// The environment of the function called `name`: from here on it logs and counts.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(name: &'static str) -> Result<Self, StartError> {
        let own_level = std::env::var(LOG_LEVEL).ok().and_then(|text| named(&text));
        let level = init_function(own_level.unwrap_or_default())?;
        let aws = Aws::from_environment().await;
        let clock = Clock::default();
        let secrets = Arc::new(aws.secrets(clock.clone()));
        let name_in_aws = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| name.to_owned());
        let (location, emf) = (Location::from_environment()?, Emf::start(name_in_aws)?);
        Ok(Self { aws, location, clock, secrets, emf, level, has_own_level: own_level.is_some() })
    }

    /// How AWS is reached.
    #[must_use]
    pub const fn aws(&self) -> &Aws {
        &self.aws
    }

    /// The time.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The secrets that the configuration refers to.
    #[must_use]
    pub const fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Something that is made of the configuration.
    #[must_use]
    pub fn reloading<T>(&self) -> Reloading<T> {
        Reloading::new(self.aws.text(self.location.clone()), self.clock.clone())
    }

    /// Does what a new configuration says of the process itself.
    pub fn follow(&self, config: &Config) {
        if !self.has_own_level {
            self.level.set(config.server.log.level);
        }
    }

    /// What the function counts with: lines for CloudWatch, and `others`.
    #[must_use]
    pub fn metrics(&self, others: Vec<Arc<dyn Outlet>>) -> Metrics {
        let emf: Arc<dyn Outlet> = Arc::new(self.emf);
        Metrics::with(std::iter::once(emf).chain(others).collect())
    }

    /// The end of an invocation: what was counted is written.
    pub fn flush(&self, invocation: &Invocation) {
        self.emf.flush(&invocation.request_id);
    }
}

/// The value of an environment variable that the function cannot do without.
///
/// # Errors
/// It is not set.
pub fn variable(name: &'static str) -> Result<String, StartError> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(StartError::Unset(name))
}

/// The level that Lambda calls `text`.
fn named(text: &str) -> Option<LogLevel> {
    match text.to_ascii_uppercase().as_str() {
        "TRACE" => Some(LogLevel::Trace),
        "DEBUG" => Some(LogLevel::Debug),
        "INFO" => Some(LogLevel::Info),
        "WARN" => Some(LogLevel::Warn),
        "ERROR" | "FATAL" => Some(LogLevel::Error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_s_levels_are_ours() {
        let rows = [("INFO", Some(LogLevel::Info)), ("debug", Some(LogLevel::Debug)), ("FATAL", Some(LogLevel::Error))];
        for (text, expected) in rows.into_iter().chain([("", None), ("loud", None)]) {
            assert_eq!(named(text), expected, "{text}");
        }
    }
}
