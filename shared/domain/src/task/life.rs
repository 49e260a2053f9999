//! The transitions of a task.

use std::time::Duration;

use accel_image::Digest;

use super::{LEASE, Lease, Phase, Progress, Sizes, State, Task, TaskId};
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
    /// How long a registry may hold a task back with 429 or a scan.
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

/// What a received message may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The task is leased to the receiver: run it.
    Run,
    /// The message is void (older generation, or the task has ended): acknowledge it.
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
    /// Somebody wants the task stopped.
    Cancel,
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send a message after this time, then acknowledge.
    Again(Duration),
    /// The task has ended: acknowledge.
    Ended,
}

/// What the sweeper has to do for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Send a message.
    Enqueue,
    /// Nobody else is left to see that the task is out of attempts: fail it.
    Fail,
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
}

/// A message whose queue does not allow longer delays waits in the table.
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);
/// A task without a message is swept after this.
const UNSENT: Duration = Duration::from_secs(120);

impl Task {
    /// A message of `generation` was received by `owner`.
    pub fn start(&mut self, generation: u32, owner: &str, policy: &RetryPolicy, now: Timestamp) -> Start {
        if generation < self.generation || !self.state.is_live() {
            return Start::Void;
        }
        if let Some(wait) = self.not_before.and_then(|at| time_until(at, now)) {
            return Start::Later(wait.min(LONGEST_DELAY));
        }
        if let Some(lease) = &self.lease {
            if let Some(wait) = time_until(lease.until, now) {
                return Start::Later(wait);
            }
            let wasted = !lease.progressed;
            self.attempts += u32::from(wasted);
        }
        if self.cancel_requested {
            self.end(State::Cancelled, "cancelled", policy, now);
            return Start::Cancelled;
        }
        if self.attempts >= policy.attempts {
            self.give_up(policy, now);
            return Start::OutOfAttempts;
        }
        self.state = State::Running;
        self.phase = Phase::Resolve;
        self.not_before = None;
        self.lease = Some(Lease { owner: owner.to_owned(), until: after(now, LEASE), progressed: false });
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
        let finished_more = seen.1.layers_done() > self.progress.layers_done();
        let lease = self.own_lease(owner, generation)?;
        lease.until = after(now, LEASE);
        lease.progressed |= finished_more;
        (self.phase, self.progress) = seen;
        Ok(if self.cancel_requested { Renewal::Cancel } else { Renewal::Held })
    }

    /// Whether `owner` may still move the target tag.
    ///
    /// # Errors
    /// The lease is lost, or the task is to be cancelled.
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
        self.end(State::Cancelled, "cancelled", policy, now);
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
        self.own_lease(owner, generation)?;
        self.reason = reason.to_owned();
        let wait = match retry {
            Retry::Backoff => {
                self.attempts += 1;
                if self.attempts >= policy.attempts {
                    self.give_up(policy, now);
                    return Ok(Next::Ended);
                }
                pick(&policy.waits, self.attempts - 1)
            }
            Retry::Busy { after } => after,
            Retry::Throttled { after } => match self.hold(policy, now) {
                Some(times) => after.unwrap_or_else(|| pick(&policy.waits, times)),
                None => return Ok(Next::Ended),
            },
            Retry::ScanPending => match self.hold(policy, now) {
                Some(times) => pick(&policy.scan_waits, times),
                None => return Ok(Next::Ended),
            },
        };
        self.requeue(wait, now);
        Ok(Next::Again(wait))
    }

    /// The deadline or a shutdown ended the invocation: goes on in a new one, no attempt used. `stalled` says that
    /// it began with its full time, had layers to do and finished none; `way_out` names the layer and what to do.
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
        self.own_lease(owner, generation)?;
        self.stalled = if stalled.is_some() { self.stalled + 1 } else { 0 };
        if let Some(way_out) = stalled.filter(|_| self.stalled >= 2) {
            self.end(State::Failed, way_out, policy, now);
            return Ok(Next::Ended);
        }
        self.part += 1;
        self.requeue(Duration::ZERO, now);
        Ok(Next::Again(Duration::ZERO))
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
        let runs = self.lease.as_ref().is_some_and(|lease| lease.until > now);
        if !runs {
            self.end(State::Cancelled, "cancelled", policy, now);
        }
        Ok(())
    }

    /// A person asks for the task to run again, from the beginning and at once.
    ///
    /// # Errors
    /// The task is running.
    pub fn retry(&mut self, now: Timestamp) -> Result<(), Refused> {
        if self.lease.as_ref().is_some_and(|lease| lease.until > now) {
            return Err(Refused::Running);
        }
        self.generation += 1;
        (self.attempts, self.stalled, self.part, self.held_times) = (0, 0, 0, 0);
        (self.finished, self.expires, self.held_since, self.joined) = (None, None, None, None);
        self.cancel_requested = false;
        self.progress = Progress::default();
        self.reason.clear();
        self.requeue(Duration::ZERO, now);
        Ok(())
    }

    /// A message was sent for this task.
    pub const fn sent(&mut self, now: Timestamp) {
        self.enqueued_at = Some(now);
    }

    /// Whether the sweeper has to do something, and what.
    #[must_use]
    pub fn sweep(&self, policy: &RetryPolicy, now: Timestamp) -> Option<Sweep> {
        if !self.state.is_live() {
            return None;
        }
        let leased = self.lease.as_ref().map(|lease| lease.until > now);
        let waits = self.not_before.is_some_and(|at| at > now);
        if leased == Some(true) || waits {
            return None;
        }
        let wasted = self.lease.as_ref().is_some_and(|lease| !lease.progressed);
        if self.attempts + u32::from(wasted) >= policy.attempts {
            return Some(Sweep::Fail);
        }
        let old = |at: Option<Timestamp>, age: Duration| at.is_none_or(|at| after(at, age) <= now);
        let due = match (leased, self.not_before, self.enqueued_at) {
            (Some(_), _, sent) => {
                old(sent, UNSENT) || sent.is_none_or(|sent| self.lease.as_ref().is_some_and(|l| sent < l.until))
            }
            (None, Some(_), sent) => sent.is_none(),
            (None, None, Some(sent)) => after(sent, policy.queue_retention) <= now,
            (None, None, None) => old(Some(self.created), UNSENT),
        };
        due.then_some(Sweep::Enqueue)
    }

    /// The sweeper gives the task up.
    ///
    /// # Errors
    /// The task has ended, or somebody runs it after all.
    pub fn abandon(&mut self, policy: &RetryPolicy, now: Timestamp) -> Result<(), Refused> {
        match self.sweep(policy, now) {
            Some(Sweep::Fail) => {
                self.give_up(policy, now);
                Ok(())
            }
            Some(Sweep::Enqueue) | None if self.state.is_live() => Err(Refused::Running),
            Some(Sweep::Enqueue) | None => Err(Refused::Ended),
        }
    }

    fn own_lease(&mut self, owner: &str, generation: u32) -> Result<&mut Lease, Refused> {
        if !self.state.is_live() {
            return Err(Refused::Ended);
        }
        let same = self.generation == generation;
        self.lease.as_mut().filter(|lease| same && lease.owner == owner).ok_or(Refused::LeaseLost)
    }

    /// Counts a time that the registry held us back; `None` (and FAILED) once that has lasted too long.
    fn hold(&mut self, policy: &RetryPolicy, now: Timestamp) -> Option<u32> {
        let since = *self.held_since.get_or_insert(now);
        if after(since, policy.held) <= now {
            self.give_up(policy, now);
            return None;
        }
        self.held_times += 1;
        Some(self.held_times - 1)
    }

    fn give_up(&mut self, policy: &RetryPolicy, now: Timestamp) {
        let reason = match self.reason.as_str() {
            "" => "every attempt was ended from outside before it could finish a layer".to_owned(),
            reason => reason.to_owned(),
        };
        self.end(State::Failed, &reason, policy, now);
    }

    fn requeue(&mut self, wait: Duration, now: Timestamp) {
        self.state = State::Queued;
        self.phase = Phase::Queued;
        self.lease = None;
        self.enqueued_at = None;
        self.not_before = Some(after(now, wait));
    }

    fn end(&mut self, state: State, reason: &str, policy: &RetryPolicy, now: Timestamp) {
        self.state = state;
        self.phase = Phase::Done;
        reason.clone_into(&mut self.reason);
        self.lease = None;
        self.not_before = None;
        self.finished = Some(now);
        self.expires = Some(after(now, policy.retention));
    }
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

/// The `times`-th wait; the last one repeats.
fn pick(waits: &[Duration], times: u32) -> Duration {
    let last = waits.len().saturating_sub(1);
    waits.get((times as usize).min(last)).copied().unwrap_or(Duration::from_secs(60))
}

/// `at` plus `wait`, at most the end of time.
fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long until `at`, if that is still to come.
fn time_until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}
