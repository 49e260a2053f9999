//! When a task is tried again, and how often.

use std::time::Duration;

use super::work::{CLOCK_SKEW, after, time_until};
use super::{Held, Work};
use crate::{Retry, Timestamp};

/// How often and when tasks are tried again, and how long they are kept.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts before a task is FAILED.
    pub attempts: u32,
    /// The wait after the first, second, … attempt; the last one repeats.
    pub waits: Vec<Duration>,
    /// The waits while a registry scans the image.
    pub scan_waits: Vec<Duration>,
    /// How long a registry may hold a task back with 429, and how long with a scan.
    pub held: Duration,
    /// How long finished tasks are kept.
    pub retention: Duration,
    /// How long the queue keeps a message.
    pub queue_retention: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let seconds = |list: [u64; 4]| list.map(Duration::from_secs).to_vec();
        Self {
            attempts: 5,
            waits: seconds([15, 60, 300, 900]),
            scan_waits: seconds([120, 300, 900, 3600]),
            held: Duration::from_secs(24 * 3600),
            retention: Duration::from_secs(24 * 3600),
            queue_retention: Duration::from_secs(4 * 24 * 3600),
        }
    }
}

/// The longest delay of a message; what waits longer lies in the table until it is due.
pub const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

/// A registry that says 429 is left alone for at least this, whatever its Retry-After says.
const SHORTEST_HOLD: Duration = Duration::from_secs(1);

impl Work {
    /// Uses what `retry` uses: how long the work waits then, `None` if nothing of that is left.
    pub(super) fn wait_after(&mut self, retry: Retry, policy: &RetryPolicy, now: Timestamp) -> Option<Duration> {
        match retry {
            Retry::Backoff => {
                self.attempts += 1;
                self.stalled = 0;
                (self.attempts < policy.attempts).then(|| pick(&policy.waits, self.attempts - 1))
            }
            Retry::Busy { after } => Some(after),
            Retry::Throttled { after } => {
                let held = held_again(&mut self.throttled, now);
                let wait = after.unwrap_or_else(|| pick(&policy.waits, held.times - 1)).max(SHORTEST_HOLD);
                left(held, policy, now).map(|left| wait.min(left))
            }
            Retry::ScanPending => {
                let held = held_again(&mut self.scanning, now);
                let wait = pick(&policy.scan_waits, held.times - 1);
                left(held, policy, now).map(|left| wait.min(left))
            }
        }
    }

    /// How long it is not to be run yet. A wait longer than any that is ever given was written before the clock
    /// was set back.
    pub(super) fn waits(&self, policy: &RetryPolicy, now: Timestamp) -> Option<Duration> {
        let longest = policy.waits.iter().chain(&policy.scan_waits).max().copied().unwrap_or_default().max(policy.held);
        self.not_before.and_then(|at| time_until(at, now)).filter(|wait| *wait <= longest + CLOCK_SKEW)
    }
}

/// Counts a time that the registry held us back.
fn held_again(held: &mut Option<Held>, now: Timestamp) -> Held {
    let before = held.map_or(Held { since: now, times: 0 }, |held| Held { since: held.since.min(now), ..held });
    *held.insert(Held { times: before.times + 1, ..before })
}

/// What is left of the time for which a registry may hold us back.
fn left(held: Held, policy: &RetryPolicy, now: Timestamp) -> Option<Duration> {
    time_until(after(held.since, policy.held), now)
}

/// The `times`-th wait; the last one repeats.
fn pick(waits: &[Duration], times: u32) -> Duration {
    let last = waits.len().saturating_sub(1);
    waits.get((times as usize).min(last)).copied().unwrap_or(Duration::from_secs(60))
}
