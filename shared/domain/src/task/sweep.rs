//! What the sweeper does for tasks and units that nobody else looks after.

use std::time::Duration;

use super::life::CANCELLED;
use super::work::{CLOCK_SKEW, after};
use super::{Refused, RetryPolicy, State, Task, Unit, Work};
use crate::Timestamp;

/// What the sweeper has to do for a task or a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Send a message.
    Enqueue,
    /// Nobody else is left to see that it is out of attempts: fail the task.
    Fail,
}

/// What was written and never sent is swept after this.
const UNSENT: Duration = Duration::from_secs(120);

impl Task {
    /// Whether the sweeper has to do something, and what: it sends the message of a task that has none, and never
    /// minds how long a message waits for its turn. While layers are converted by messages of their own, it looks at
    /// the units.
    #[must_use]
    pub fn sweep(&self, policy: &RetryPolicy, now: Timestamp) -> Option<Sweep> {
        if !matches!(self.state, State::Queued | State::Running) {
            return None;
        }
        self.work.sweep(self.created, policy, now)
    }

    /// The earliest time at which [`Task::sweep`] may have something to say, while the task stays as it is; `None` if
    /// it never has. One that waits for its units is due at once: they have to be looked at. For a store's index: what
    /// is not due yet need not be read.
    ///
    /// Times that lie ahead because the clock was set back since are believed here: `sweep` may have something to say
    /// earlier then.
    #[must_use]
    pub fn sweep_due(&self, policy: &RetryPolicy) -> Option<Timestamp> {
        match self.state {
            State::Queued | State::Running => Some(self.work.sweep_due(self.created, policy)),
            State::FannedOut => Some(Timestamp::MIN),
            State::Completed
            | State::Superseded
            | State::AlreadyAccelerated
            | State::Joined
            | State::Failed
            | State::Cancelled => None,
        }
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
        self.work.attempts = self.work.attempts_at_end();
        if self.cancel_requested {
            self.end(State::Cancelled, CANCELLED, policy, now);
        } else {
            self.give_up(policy, now);
        }
        Ok(())
    }
}

impl Unit {
    /// Whether the sweeper has to do something for a unit that its task still waits for, and what.
    #[must_use]
    pub fn sweep(&self, policy: &RetryPolicy, now: Timestamp) -> Option<Sweep> {
        self.work.sweep(self.created, policy, now)
    }
}

impl Work {
    /// What the sweeper has to do for live work that exists since `created`.
    fn sweep(&self, created: Timestamp, policy: &RetryPolicy, now: Timestamp) -> Option<Sweep> {
        if self.is_leased(now) || self.waits(policy, now).is_some() {
            return None;
        }
        if self.attempts_at_end() >= policy.attempts {
            return Some(Sweep::Fail);
        }
        let due = self.overdue_after(created, policy).is_none_or(|(since, age)| lapsed(since, age, now));
        due.then_some(Sweep::Enqueue)
    }

    /// The earliest time at which [`Work::sweep`] may have something to say.
    fn sweep_due(&self, created: Timestamp, policy: &RetryPolicy) -> Timestamp {
        let leased = self.lease.as_ref().map_or(Timestamp::MIN, |lease| lease.until);
        let free = leased.max(self.not_before.unwrap_or(Timestamp::MIN));
        if self.attempts_at_end() >= policy.attempts {
            return free;
        }
        self.overdue_after(created, policy).map_or(free, |(since, age)| free.max(after(since, age)))
    }

    /// What has to lapse before nobody is left who sends the message, once nobody runs it and it does not wait: so long
    /// after that time. `None` if nothing has to.
    fn overdue_after(&self, created: Timestamp, policy: &RetryPolicy) -> Option<(Timestamp, Duration)> {
        match (&self.lease, self.not_before, self.enqueued_at) {
            (Some(lease), _, Some(sent)) if sent < lease.until => None,
            (_, due, Some(sent)) => Some((due.map_or(sent, |due| due.max(sent)), policy.queue_retention)),
            (Some(_), _, None) | (None, Some(_), None) => None,
            (None, None, None) => Some((created, UNSENT)),
        }
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
