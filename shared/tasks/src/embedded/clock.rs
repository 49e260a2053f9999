//! The queue's clock. It never goes back and never jumps: set once from the wall clock, it runs on by itself.

use std::time::Duration;

use accel_domain::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

/// What time it is for the queue.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { started: Timestamp, at: Instant },
    Manual(watch::Sender<Timestamp>),
}

impl Clock {
    /// The machine's monotonic clock, set from its wall clock now.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { started: Timestamp::now(), at: Instant::now() })
    }

    /// A clock that stands still until [`Clock::advance`] is called; clones go together.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(watch::Sender::new(start)))
    }

    /// Moves a manual clock on. The machine's is not moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|now| *now = later(*now, by));
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { started, at } => later(*started, at.elapsed()),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Returns when it is `time`.
    pub(super) async fn sleep_until(&self, time: Timestamp) {
        match &self.0 {
            Source::System { started, at } => {
                let since_start = Duration::try_from(time.duration_since(*started)).unwrap_or_default();
                match at.checked_add(since_start) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            }
            Source::Manual(now) => {
                let reached = now.subscribe().wait_for(|now| *now >= time).await.is_ok();
                if !reached {
                    std::future::pending().await
                }
            }
        }
    }
}

/// `at` plus `by`, at most the end of time.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
