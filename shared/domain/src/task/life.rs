//! The transitions of a task: what its owner, the person who made it, and the sender of its messages may do.
//!
//! A live task has not finished; one that has ended has no lease. Attempts never exceed the policy's.

use std::time::Duration;

use accel_image::Digest;

use super::work::{Turn, after};
use super::{Lease, Phase, Progress, RetryPolicy, Sizes, State, Task, TaskId, Work};
use crate::{Retry, Timestamp};

/// What a received message may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The task is leased to the receiver: run it.
    Run,
    /// The message is void (older generation, the task has ended, or it waits for its units): acknowledge it.
    Void,
    /// Not now (somebody runs it, or it waits): send it again after this time, then acknowledge.
    Later(Duration),
    /// The task has used its attempts and is FAILED now: acknowledge.
    OutOfAttempts,
    /// The task was cancelled before it began: acknowledge.
    Cancelled,
}

/// What the renewal of a lease tells its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Go on.
    Held,
    /// Somebody wants the task stopped: stop, move no tag, then call [`Task::stopped`].
    Cancel,
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send a message after this time, at most [`super::LONGEST_DELAY`], then acknowledge.
    Again(Duration),
    /// The wait is longer than a queue can delay: acknowledge; the sweeper sends the message when it is due.
    Parked,
    /// The task is done in units from now on: send the message of each, then acknowledge.
    Units,
    /// The task has ended: acknowledge.
    Ended,
}

/// A transition that the task's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The lease is not the caller's (any more).
    #[error("the task's lease was taken over")]
    LeaseLost,
    /// The task has ended.
    #[error("the task has ended")]
    Ended,
    /// The task is running.
    #[error("the task is running")]
    Running,
    /// The task does not wait for this layer (any more).
    #[error("the task does not wait for this layer")]
    NotWaiting,
}

/// How a task ended well.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Completed, superseded or already accelerated.
    pub state: State,
    /// What the list shows beside COMPLETED.
    pub reason: &'static str,
    /// Sizes of source and target.
    pub sizes: Sizes,
    /// What stands under the target tag.
    pub target_digest: Option<Digest>,
    /// The final counts.
    pub progress: Progress,
}

impl Task {
    /// A message of `generation` was received by `owner`.
    pub fn start(&mut self, generation: u32, owner: &str, policy: &RetryPolicy, now: Timestamp) -> Start {
        if generation < self.generation || !matches!(self.state, State::Queued | State::Running) {
            return Start::Void;
        }
        let turn = self.work.turn(policy, now);
        if let Turn::Later(wait) = turn {
            return Start::Later(wait);
        }
        if self.cancel_requested {
            self.end(State::Cancelled, CANCELLED, policy, now);
            return Start::Cancelled;
        }
        if turn == Turn::OutOfAttempts {
            self.give_up(policy, now);
            return Start::OutOfAttempts;
        }
        (self.state, self.phase) = (State::Running, Phase::Resolve);
        self.work.take(owner, now);
        Start::Run
    }

    /// Renews the lease and stores how far the task is.
    ///
    /// # Errors
    /// The lease is somebody else's, the task has ended, or it was retried since.
    pub fn renew(
        &mut self,
        owner: &str,
        generation: u32,
        seen: (Phase, Progress),
        now: Timestamp,
    ) -> Result<Renewal, Refused> {
        let finished_more = seen.1.layers_done() > self.layers_finished;
        let lease = self.own_lease(owner, generation)?;
        lease.renew(now);
        lease.progressed |= finished_more;
        (self.phase, self.progress) = seen;
        if finished_more {
            self.layers_finished = seen.1.layers_done();
            (self.work.throttled, self.work.scanning) = (None, None);
        }
        Ok(if self.cancel_requested { Renewal::Cancel } else { Renewal::Held })
    }

    /// Whether `owner` may still move the target tag: only if the answer is [`Renewal::Held`].
    ///
    /// # Errors
    /// The lease is lost.
    pub fn may_tag(&mut self, owner: &str, generation: u32, now: Timestamp) -> Result<Renewal, Refused> {
        let seen = (Phase::Tag, self.progress);
        self.renew(owner, generation, seen, now)
    }

    /// The tag of an unresolved task points at `digest`: the key changes.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn resolve(&mut self, owner: &str, generation: u32, digest: Digest) -> Result<(), Refused> {
        self.own_lease(owner, generation)?;
        self.digest = Some(digest);
        Ok(())
    }

    /// Another live task does the same: this one ends and shows that one.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn join(
        &mut self,
        owner: &str,
        generation: u32,
        other: TaskId,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.own_lease(owner, generation)?;
        self.joined = Some(other);
        self.end(State::Joined, "", policy, now);
        Ok(())
    }

    /// The task ends well: `state` is completed, superseded or already accelerated.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn complete(
        &mut self,
        owner: &str,
        generation: u32,
        done: Done,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.own_lease(owner, generation)?;
        self.sizes = done.sizes;
        self.target_digest = done.target_digest;
        self.progress = done.progress;
        self.end(done.state, done.reason, policy, now);
        Ok(())
    }

    /// The task cannot succeed.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn fail(
        &mut self,
        owner: &str,
        generation: u32,
        reason: &str,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.own_lease(owner, generation)?;
        self.end(State::Failed, reason, policy, now);
        Ok(())
    }

    /// The owner has stopped because somebody asked for it.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn stopped(
        &mut self,
        owner: &str,
        generation: u32,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.own_lease(owner, generation)?;
        self.end(State::Cancelled, CANCELLED, policy, now);
        Ok(())
    }

    /// An attempt did not succeed, a later one may: one write that frees the lease and says when.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn retry_later(
        &mut self,
        owner: &str,
        generation: u32,
        retry: Retry,
        reason: &str,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<Next, Refused> {
        if self.ends_cancelled(owner, generation, policy, now)? {
            return Ok(Next::Ended);
        }
        reason.clone_into(&mut self.reason);
        let Some(next) = self.work.retry_later(retry, policy, now) else {
            self.give_up(policy, now);
            return Ok(Next::Ended);
        };
        self.wait_in_queue();
        Ok(next)
    }

    /// The deadline or a shutdown ended the invocation: goes on in a new one, no attempt used. `stalled` says that
    /// it began with its full time, had layers to do and finished none, and was ended by the deadline; its text names
    /// the layer, its size and what to do.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn interrupted(
        &mut self,
        owner: &str,
        generation: u32,
        stalled: Option<&str>,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<Next, Refused> {
        if self.ends_cancelled(owner, generation, policy, now)? {
            return Ok(Next::Ended);
        }
        let Some(next) = self.work.interrupted(stalled.is_some(), now) else {
            self.end(State::Failed, stalled.unwrap_or_default(), policy, now);
            return Ok(Next::Ended);
        };
        self.wait_in_queue();
        Ok(next)
    }

    /// A person asks for the task to stop. A task that nobody runs ends at once.
    ///
    /// # Errors
    /// The task has ended.
    pub fn cancel(&mut self, policy: &RetryPolicy, now: Timestamp) -> Result<(), Refused> {
        if !self.state.is_live() {
            return Err(Refused::Ended);
        }
        self.cancel_requested = true;
        if !self.is_leased(now) {
            self.end(State::Cancelled, CANCELLED, policy, now);
        }
        Ok(())
    }

    /// A person asks for the task to run again, from the beginning and at once.
    ///
    /// # Errors
    /// The task is running.
    pub fn retry(&mut self, now: Timestamp) -> Result<(), Refused> {
        if self.is_leased(now) {
            return Err(Refused::Running);
        }
        self.generation += 1;
        self.layers_finished = 0;
        (self.finished, self.expires, self.joined, self.target_digest) = (None, None, None, None);
        (self.fan_out, self.progress, self.sizes) = (None, Progress::default(), Sizes::default());
        self.cancel_requested = false;
        self.reason.clear();
        self.work = Work { not_before: Some(now), ..Work::default() };
        self.wait_in_queue();
        Ok(())
    }

    /// The message of `generation` and `part` was sent for this task.
    pub fn sent(&mut self, generation: u32, part: u32, now: Timestamp) {
        if self.state.is_live() && generation == self.generation {
            self.work.sent(part, now);
        }
    }

    /// Whether somebody runs the task at `now`.
    #[must_use]
    pub fn is_leased(&self, now: Timestamp) -> bool {
        self.work.is_leased(now)
    }

    pub(super) fn give_up(&mut self, policy: &RetryPolicy, now: Timestamp) {
        let reason = last_reason(&self.reason).to_owned();
        self.end(State::Failed, &reason, policy, now);
    }

    pub(super) fn end(&mut self, state: State, reason: &str, policy: &RetryPolicy, now: Timestamp) {
        self.state = state;
        self.phase = Phase::Done;
        reason.clone_into(&mut self.reason);
        (self.work.lease, self.work.not_before) = (None, None);
        self.finished = Some(now);
        self.expires = Some(after(now, policy.retention));
    }

    /// Whether somebody has asked for the task to stop, which the owner hears at the end of its run: it has ended then.
    pub(super) fn ends_cancelled(
        &mut self,
        owner: &str,
        generation: u32,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<bool, Refused> {
        self.own_lease(owner, generation)?;
        if self.cancel_requested {
            self.end(State::Cancelled, CANCELLED, policy, now);
        }
        Ok(self.cancel_requested)
    }

    pub(super) fn own_lease(&mut self, owner: &str, generation: u32) -> Result<&mut Lease, Refused> {
        if !self.state.is_live() {
            return Err(Refused::Ended);
        }
        if self.generation != generation {
            return Err(Refused::LeaseLost);
        }
        self.work.lease_of(owner)
    }

    pub(super) const fn wait_in_queue(&mut self) {
        (self.state, self.phase) = (State::Queued, Phase::Queued);
    }
}

pub(super) const CANCELLED: &str = "cancelled";

/// What to say of something that is given up, after the last `reason` that was noted.
pub(super) const fn last_reason(reason: &str) -> &str {
    if reason.is_empty() { "every attempt was ended from outside before it could finish a layer" } else { reason }
}
