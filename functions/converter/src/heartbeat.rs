//! The heartbeat of a running task: renews its lease, and the target's while it is held, and hears of cancellation.
//! It beats in time, and when a layer is finished: whoever kills the process then must find it noted.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use accel_domain::task::{LEASE, LEASE_RENEWAL, Renewal, Task, TaskId};
use accel_pipeline::{Stop, StopReason};
use accel_tasks::{LayerCache, StoreError, TaskQueue, TaskStore};
use tracing::warn;

use crate::counts::Counts;
use crate::settle::Converter;

/// Keeps what a running task holds.
pub(crate) struct Heartbeat<'c, S, Q> {
    converter: &'c Converter<S, Q>,
    /// Who holds the leases: this run and no other, so that two runs of one process exclude each other too.
    owner: &'c str,
    task: &'c Task,
    counts: &'c Counts,
    stop: &'c Stop,
    target_held: AtomicBool,
}

impl<'c, S: TaskStore + LayerCache, Q: TaskQueue> Heartbeat<'c, S, Q> {
    pub(crate) const fn new(
        converter: &'c Converter<S, Q>,
        owner: &'c str,
        task: &'c Task,
        counts: &'c Counts,
        stop: &'c Stop,
    ) -> Self {
        Self { converter, owner, task, counts, stop, target_held: AtomicBool::new(false) }
    }

    /// Beats for ever.
    pub(crate) async fn beat(&self) -> Infallible {
        loop {
            tokio::select! { () = tokio::time::sleep(LEASE_RENEWAL) => {}, () = self.counts.rung() => {} }
            heed(self.renew().await, self.stop);
        }
    }

    /// Renews the task's lease now, with how far it is.
    pub(crate) async fn renew(&self) -> Result<Renewal, StoreError> {
        let now = accel_runtime::clock::now();
        let seen = self.counts.seen();
        let renew = |task: &mut Task| Ok(task.renew(self.owner, self.task.generation, seen, now)?);
        let (_, renewal) = self.converter.store.update(&self.task.id, now, renew).await?;
        if self.target_held.load(Ordering::Relaxed) && !self.take_target().await? {
            self.stop.stop(StopReason::LeaseLost);
        }
        Ok(renewal)
    }

    /// Who holds the leases.
    pub(crate) const fn owner(&self) -> &str {
        self.owner
    }

    /// Takes, or renews, the lease of the target; `false` if another task has it.
    pub(crate) async fn take_target(&self) -> Result<bool, StoreError> {
        let now = accel_runtime::clock::now();
        let taken = self.converter.store.lease_target(&self.task.target, &self.holder(), LEASE, now).await?;
        self.target_held.store(taken, Ordering::Relaxed);
        Ok(taken)
    }

    /// Gives the lease of the target back: after what became of the task is recorded, so that whoever takes it next
    /// finds either a task that has ended or one that has not come to its tag.
    pub(crate) async fn release_target(&self) {
        if !self.target_held.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.converter.store.release_target(&self.task.target, &self.holder()).await {
            warn!(%error, "the lease of the target was not given back; it ends by itself");
        }
    }

    fn holder(&self) -> String {
        holder(self.owner, &self.task.id)
    }
}

/// Stops what runs, if the renewal of its lease says so.
pub(crate) fn heed(renewed: Result<Renewal, StoreError>, stop: &Stop) {
    match renewed {
        Ok(Renewal::Held) => {}
        Ok(Renewal::Cancel) => stop.stop(StopReason::Cancelled),
        Err(StoreError::Refused(_) | StoreError::NotFound(_)) => stop.stop(StopReason::LeaseLost),
        Err(error) => warn!(%error, "the lease was not renewed; it is tried again"),
    }
}

/// Who holds the lease of a target while `owner` runs `task`.
pub(crate) fn holder(owner: &str, task: &TaskId) -> String {
    format!("{owner} {task}")
}
