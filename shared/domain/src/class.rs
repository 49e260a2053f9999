//! What an error means for the task that met it. Chosen where the cause is known, acted on in one place.

use std::time::Duration;

/// The class of an error: it decides between another attempt, a failed task and a new invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A later attempt may succeed.
    Transient(Retry),
    /// This image or this rule never will: FAILED with a reason, no retry.
    Permanent,
    /// The deadline is near or the process stops: goes on in a new invocation, no attempt is used.
    Interrupted,
}

/// Which budget a transient error draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The task's attempts: after 15 s, 1, 5 and 15 min.
    Backoff,
    /// The registry said 429: a budget of time, no attempt.
    Throttled {
        /// What its Retry-After header asked for.
        after: Option<Duration>,
    },
    /// The registry wants to scan the image first (412 PROJECTPOLICYVIOLATION): 2, 5, 15, 60 min, no attempt.
    ScanPending,
    /// Somebody else holds the lease of the target or of the task: soon again, no attempt.
    Busy {
        /// When to look again.
        after: Duration,
    },
}

impl ErrorClass {
    /// A transient error that uses one of the task's attempts.
    pub const BACKOFF: Self = Self::Transient(Retry::Backoff);
}
