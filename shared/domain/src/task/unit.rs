//! A unit: one layer of a task that has fanned out, with attempts and a lease of its own.
//!
//! Whether it is finished, and whether it still matters, is in its task ([`super::FanOut`]).

use accel_image::Digest;
use serde::{Deserialize, Serialize};

use super::life::{Next, Refused, Start};
use super::work::Turn;
use super::{RetryPolicy, TaskId, Work};
use crate::{Retry, Timestamp};

/// What names a unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitKey {
    /// The task.
    pub task: TaskId,
    /// The generation of the task.
    pub generation: u32,
    /// The source layer.
    pub layer: Digest,
}

/// A unit as stores keep it, once it was begun or its message was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    #[serde(flatten)]
    pub key: UnitKey,
    /// Raised by every write; the condition of the next one. 0: it was never written.
    pub revision: u64,
    /// When its task fanned out.
    pub created: Timestamp,
    /// Why its last attempt did not succeed.
    pub reason: String,
    /// Who runs it, how often it was tried, when it comes next.
    #[serde(flatten)]
    pub work: Work,
}

impl Unit {
    /// A unit that was never begun.
    #[must_use]
    pub fn new(key: UnitKey, created: Timestamp) -> Self {
        Self { key, revision: 0, created, reason: String::new(), work: Work::default() }
    }

    /// A message for the unit was received by `owner`, and its task waits for it. After [`Start::OutOfAttempts`] the
    /// task fails.
    pub fn start(&mut self, owner: &str, policy: &RetryPolicy, now: Timestamp) -> Start {
        match self.work.turn(policy, now) {
            Turn::Later(wait) => Start::Later(wait),
            Turn::OutOfAttempts => Start::OutOfAttempts,
            Turn::Now => {
                self.work.take(owner, now);
                Start::Run
            }
        }
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// The lease is somebody else's.
    pub fn renew(&mut self, owner: &str, now: Timestamp) -> Result<(), Refused> {
        self.work.lease_of(owner)?.renew(now);
        Ok(())
    }

    /// An attempt did not succeed, a later one may. After [`Next::Ended`] the task fails with [`Unit::reason`].
    ///
    /// # Errors
    /// The lease is lost.
    pub fn retry_later(
        &mut self,
        owner: &str,
        retry: Retry,
        reason: &str,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<Next, Refused> {
        self.work.lease_of(owner)?;
        reason.clone_into(&mut self.reason);
        let next = self.work.retry_later(retry, policy, now);
        Ok(next.unwrap_or_else(|| self.give_up(policy)))
    }

    /// The deadline or a shutdown ended the run; `stalled` as in [`super::Task::interrupted`]. After [`Next::Ended`] the
    /// task fails with [`Unit::reason`].
    ///
    /// # Errors
    /// The lease is lost.
    pub fn interrupted(
        &mut self,
        owner: &str,
        stalled: Option<&str>,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<Next, Refused> {
        self.work.lease_of(owner)?;
        let next = self.work.interrupted(stalled.is_some(), now);
        Ok(next.unwrap_or_else(|| {
            stalled.unwrap_or_default().clone_into(&mut self.reason);
            self.give_up(policy)
        }))
    }

    /// The message of `part` was sent for this unit.
    pub fn sent(&mut self, part: u32, now: Timestamp) {
        self.work.sent(part, now);
    }

    /// Nothing is left to try. Whoever dies before the task has failed leaves a unit that the sweeper finds.
    fn give_up(&mut self, policy: &RetryPolicy) -> Next {
        self.work.attempts = policy.attempts;
        (self.work.lease, self.work.not_before) = (None, None);
        Next::Ended
    }
}
