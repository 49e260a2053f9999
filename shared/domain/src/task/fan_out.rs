//! Fan-out: the layers of a big image are converted by messages of their own, each a unit with a lease of its own; the
//! task waits for all of them and puts the image together then.
//!
//! All that has to hold is in the task: which units there are, and which are finished. So each step is one write: the
//! task fans out, a unit is finished, the last one queues the task again. The record of a unit counts its attempts and
//! says who runs it; one that is not there is a unit that was never begun.

use std::collections::BTreeSet;
use std::time::Duration;

use accel_image::Digest;
use serde::{Deserialize, Serialize};

use super::life::last_reason;
use super::unit::{Unit, UnitKey};
use super::{Next, Phase, Progress, Refused, Renewal, RetryPolicy, State, Task};
use crate::Timestamp;

/// The most units of a task, so that the task stays small. What is left is done when the image is put together.
pub const MAX_UNITS: usize = 256;

/// The units of a task, in one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOut {
    /// When the task fanned out.
    pub since: Timestamp,
    /// The source layers that are converted by messages of their own.
    pub units: BTreeSet<Digest>,
    /// Those that are finished.
    pub finished: BTreeSet<Digest>,
    /// What the finished ones have done.
    pub progress: Progress,
}

impl FanOut {
    /// Whether every unit is finished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.units.is_subset(&self.finished)
    }
}

impl Task {
    /// The owner hands the layers `units` to messages of their own: the lease is free, and the task waits for them.
    ///
    /// # Errors
    /// The lease is lost.
    pub fn fan_out(
        &mut self,
        owner: &str,
        generation: u32,
        units: BTreeSet<Digest>,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<Next, Refused> {
        if self.ends_cancelled(owner, generation, policy, now)? {
            return Ok(Next::Ended);
        }
        let layers_total = self.progress.layers_total.max(u32::try_from(units.len()).unwrap_or(u32::MAX));
        let progress = Progress { layers_total, ..Progress::default() };
        let fan_out = FanOut { since: now, units, finished: BTreeSet::new(), progress };
        let nothing_to_wait_for = fan_out.is_complete();
        (self.progress, self.fan_out) = (progress, Some(fan_out));
        self.work.stalled = 0;
        if nothing_to_wait_for {
            self.gather_now(now);
            return Ok(Next::Again(Duration::ZERO));
        }
        (self.state, self.phase) = (State::FannedOut, Phase::Convert);
        (self.work.lease, self.work.enqueued_at) = (None, None);
        Ok(Next::Units)
    }

    /// The unit of `layer` as it is before it was ever begun, if the task waits for it.
    #[must_use]
    pub fn unit(&self, generation: u32, layer: Digest) -> Option<Unit> {
        self.awaits(generation, layer).ok().map(|since| self.new_unit(layer, since))
    }

    /// All units that the task waits for, as they are before they were ever begun.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let Some(fan_out) = self.fan_out.as_ref().filter(|_| self.state == State::FannedOut) else { return Vec::new() };
        fan_out.units.difference(&fan_out.finished).map(|layer| self.new_unit(*layer, fan_out.since)).collect()
    }

    /// What a renewal of the lease of the unit of `layer` tells its owner.
    ///
    /// # Errors
    /// The task does not wait for the unit any more: it has ended, or was retried since.
    pub fn unit_renewal(&self, generation: u32, layer: Digest) -> Result<Renewal, Refused> {
        if self.cancel_requested && self.generation == generation {
            return Ok(Renewal::Cancel);
        }
        self.awaits(generation, layer).map(|_| Renewal::Held)
    }

    /// The layer is finished, and did `did`. With the last one the task is queued again, to put the image together:
    /// `true` then, and its message is to be sent. A unit that was finished before changes nothing.
    ///
    /// # Errors
    /// The task does not wait for the layer.
    pub fn finish_unit(
        &mut self,
        generation: u32,
        layer: Digest,
        did: Progress,
        now: Timestamp,
    ) -> Result<bool, Refused> {
        self.awaits(generation, layer)?;
        let fan_out = self.fan_out.as_mut().ok_or(Refused::NotWaiting)?;
        fan_out.finished.insert(layer);
        // How many layers the image has is known since it fanned out.
        fan_out.progress = fan_out.progress.plus(Progress { layers_total: 0, ..did });
        self.progress = fan_out.progress;
        self.layers_finished = self.layers_finished.max(self.progress.layers_done());
        (self.work.throttled, self.work.scanning) = (None, None);
        let complete = fan_out.is_complete();
        if complete {
            self.gather_now(now);
        }
        Ok(complete)
    }

    /// The task is queued again before its units are finished, since there is nothing to convert any more: whoever runs
    /// it finds out why. Its message is to be sent.
    ///
    /// # Errors
    /// The task has not fanned out in this generation, or has ended.
    pub fn gather(&mut self, generation: u32, now: Timestamp) -> Result<(), Refused> {
        self.fanned_out(generation)?;
        self.gather_now(now);
        Ok(())
    }

    /// The unit of `layer` cannot succeed, so the task cannot.
    ///
    /// # Errors
    /// The task does not wait for the layer.
    pub fn fail_unit(
        &mut self,
        generation: u32,
        layer: Digest,
        reason: &str,
        policy: &RetryPolicy,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.awaits(generation, layer)?;
        self.end(State::Failed, last_reason(reason), policy, now);
        Ok(())
    }

    fn fanned_out(&self, generation: u32) -> Result<&FanOut, Refused> {
        if !self.state.is_live() {
            return Err(Refused::Ended);
        }
        let waits = self.state == State::FannedOut && self.generation == generation;
        self.fan_out.as_ref().filter(|_| waits).ok_or(Refused::NotWaiting)
    }

    /// Since when the task waits for `layer`.
    fn awaits(&self, generation: u32, layer: Digest) -> Result<Timestamp, Refused> {
        let fan_out = self.fanned_out(generation)?;
        let awaited = fan_out.units.contains(&layer) && !fan_out.finished.contains(&layer);
        awaited.then_some(fan_out.since).ok_or(Refused::NotWaiting)
    }

    fn new_unit(&self, layer: Digest, since: Timestamp) -> Unit {
        Unit::new(UnitKey { task: self.id.clone(), generation: self.generation, layer }, since)
    }

    fn gather_now(&mut self, now: Timestamp) {
        self.work.queue(Duration::ZERO, now);
        self.wait_in_queue();
    }
}
