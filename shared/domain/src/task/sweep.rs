//! What the sweeper does for tasks that nobody else looks after.

use std::time::Duration;

use super::life::{CANCELLED, CLOCK_SKEW, after};
use super::{Refused, RetryPolicy, State, Task};
use crate::Timestamp;

/// What the sweeper has to do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Send a message.
    Enqueue,
    /// Nobody else is left to see that the task is out of attempts: fail it.
    Fail,
}

/// A task whose message was never sent is swept after this.
const UNSENT: Duration = Duration::from_secs(120);

impl Task {
    /// Whether the sweeper has to do something, and what: it sends the message of a task that has none, and never
    /// minds how long a message waits for its turn.
    #[must_use]
    pub fn sweep(&self, policy: &RetryPolicy, now: Timestamp) -> Option<Sweep> {
        if !self.state.is_live() || self.is_leased(now) || self.waits(policy, now).is_some() {
            return None;
        }
        if self.attempts_at_end() >= policy.attempts {
            return Some(Sweep::Fail);
        }
        let due = match (&self.lease, self.not_before, self.enqueued_at) {
            (Some(lease), _, Some(sent)) if sent < lease.until => true,
            (_, due, Some(sent)) => lapsed(due.map_or(sent, |due| due.max(sent)), policy.queue_retention, now),
            (Some(_), _, None) | (None, Some(_), None) => true,
            (None, None, None) => lapsed(self.created, UNSENT, now),
        };
        due.then_some(Sweep::Enqueue)
    }

    /// The sweeper gives the task up.
    ///
    /// # Errors
    /// The task has ended, or somebody runs it after all.
    pub fn abandon(&mut self, policy: &RetryPolicy, now: Timestamp) -> Result<(), Refused> {
        if !self.state.is_live() {
            return Err(Refused::Ended);
        }
        if self.sweep(policy, now) != Some(Sweep::Fail) {
            return Err(Refused::Running);
        }
        self.attempts = self.attempts_at_end();
        if self.cancel_requested {
            self.end(State::Cancelled, CANCELLED, policy, now);
        } else {
            self.give_up(policy, now);
        }
        Ok(())
    }

    /// The attempts used once the lease, if there is one, is over.
    fn attempts_at_end(&self) -> u32 {
        self.attempts + self.lease.as_ref().map_or(0, |lease| u32::from(!lease.progressed))
    }
}

/// Whether `age` has passed since `at`; a time that lies ahead was written before the clock was set back, so nobody
/// knows.
fn lapsed(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    after(at, age) <= now || at > after(now, CLOCK_SKEW)
}
