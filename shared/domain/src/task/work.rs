//! What tasks and units share: one owner at a time under a lease, attempts that are counted, waits, and the messages
//! that ask for the next run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::life::{Next, Refused};
use super::{LEASE, LONGEST_DELAY, RetryPolicy};
use crate::{Retry, Timestamp};

/// Who runs something, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that runs it.
    pub owner: String,
    /// When it is free again unless renewed.
    pub until: Timestamp,
    /// Whether a layer was finished under it.
    pub progressed: bool,
}

/// Since when, and how often, a registry has held something back without a layer finished in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The first time.
    pub since: Timestamp,
    /// How often.
    pub times: u32,
}

/// Work that messages ask for and one owner at a time does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Which run comes next: raised whenever it is queued again.
    pub part: u32,
    /// Attempts used.
    pub attempts: u32,
    /// Runs in a row that began with their full time and finished no layer.
    pub stalled: u32,
    /// Held back by 429.
    pub throttled: Option<Held>,
    /// Held back by a scan (412 PROJECTPOLICYVIOLATION).
    pub scanning: Option<Held>,
    /// Who runs it.
    pub lease: Option<Lease>,
    /// It is not run before.
    pub not_before: Option<Timestamp>,
    /// When its latest message was sent.
    pub enqueued_at: Option<Timestamp>,
}

/// Whether work may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// Somebody runs it, or it waits.
    Later(Duration),
    OutOfAttempts,
}

impl Work {
    /// Whether somebody runs it at `now`.
    #[must_use]
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.holds(now))
    }

    /// Whether it may begin at `now`. A lease that has run out is over then, and has used an attempt unless a layer was
    /// finished under it.
    pub(super) fn turn(&mut self, policy: &RetryPolicy, now: Timestamp) -> Turn {
        if let Some(wait) = self.waits(policy, now) {
            return Turn::Later(wait.min(LONGEST_DELAY));
        }
        if let Some(lease) = &mut self.lease {
            // No lease ends later than this unless the clock was set back since; its owner, if alive, renews in time.
            lease.until = lease.until.min(after(now, LEASE));
            if let Some(wait) = time_until(lease.until, now) {
                return Turn::Later(wait);
            }
            self.attempts += u32::from(!lease.progressed);
            self.lease = None;
        }
        if self.attempts >= policy.attempts { Turn::OutOfAttempts } else { Turn::Now }
    }

    /// `owner` runs it from now on.
    pub(super) fn take(&mut self, owner: &str, now: Timestamp) {
        self.not_before = None;
        self.lease = Some(Lease { owner: owner.to_owned(), until: after(now, LEASE), progressed: false });
    }

    /// The lease, if `owner` has it.
    pub(super) fn lease_of(&mut self, owner: &str) -> Result<&mut Lease, Refused> {
        self.lease.as_mut().filter(|lease| lease.owner == owner).ok_or(Refused::LeaseLost)
    }

    /// An attempt ended that a later one may make good: what follows, or `None` if nothing is left to try.
    pub(super) fn retry_later(&mut self, retry: Retry, policy: &RetryPolicy, now: Timestamp) -> Option<Next> {
        let wait = self.wait_after(retry, policy, now)?;
        self.queue(wait, now);
        Some(if wait > LONGEST_DELAY { Next::Parked } else { Next::Again(wait) })
    }

    /// A run was ended from outside: what follows, or `None` if that was the second one in a row that had its full
    /// time and finished nothing.
    pub(super) fn interrupted(&mut self, has_stalled: bool, now: Timestamp) -> Option<Next> {
        self.stalled = if has_stalled { self.stalled + 1 } else { 0 };
        if self.stalled >= 2 {
            return None;
        }
        self.queue(Duration::ZERO, now);
        Some(Next::Again(Duration::ZERO))
    }

    /// Nobody runs it; the next part waits for its message, which is not to be sent before `wait` has passed.
    pub(super) fn queue(&mut self, wait: Duration, now: Timestamp) {
        self.part += 1;
        self.lease = None;
        self.enqueued_at = None;
        self.not_before = Some(after(now, wait));
    }

    /// The message of `part` was sent. What was queued again since then has not been sent by it, so nothing is noted:
    /// the sweeper would take it for sent. Nor is it where a queue that lies in the store has done so since `now`.
    pub(super) fn sent(&mut self, part: u32, now: Timestamp) {
        let is_noted = self.enqueued_at.is_some_and(|at| at >= now && at <= after(now, CLOCK_SKEW));
        if part == self.part && !is_noted {
            self.enqueued_at = Some(now);
        }
    }
}

impl Lease {
    /// Whether the lease holds at `now`. One that ends later than any lease can was written before the clock was set
    /// back, by an owner that has not renewed it since.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        time_until(self.until, now).is_some_and(|left| left <= LEASE + CLOCK_SKEW)
    }

    pub(super) fn renew(&mut self, now: Timestamp) {
        self.until = after(now, LEASE);
    }
}

/// The clocks of a fleet agree better than this. What lies further ahead was written before a clock was set back.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// `at` plus `wait`, at most the end of time.
pub(super) fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long until `at`, if that is still to come.
pub(super) fn time_until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}
