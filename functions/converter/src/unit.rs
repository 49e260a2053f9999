//! A message of one layer of a task that has fanned out: start the unit, convert the layer, record what became of it.
//! The task's own lease is never taken; with the last unit the task's message is sent, and puts the image together.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use accel_domain::ErrorClass;
use accel_domain::task::{LEASE_RENEWAL, Next, Progress, Renewal, Start, Task, Unit, UnitKey};
use accel_pipeline::{LayerReport, Stop, StopReason, convert_layer};
use accel_runtime::clock::now;
use accel_tasks::{
    LayerCache, StoreError, TaskQueue, TaskStore, UnitStart, enqueue, enqueue_unit, fail_unit, renew_unit, start_unit,
};
use futures::{FutureExt, StreamExt};
use tracing::{info, instrument};

use crate::counts::Counts;
use crate::heartbeat::heed;
use crate::report;
use crate::run::RunError;
use crate::settle::{Converter, too_large};

/// Messages of units that are sent at a time.
const SENT_AT_ONCE: usize = 16;

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    /// Sends the messages of all units of a task that has just fanned out. Those that are not sent are swept up.
    pub(crate) async fn enqueue_units(&self, task: &Task) -> Result<(), StoreError> {
        let units = task.units();
        info!(task.id = %task.id, units = units.len(), "task fanned out");
        let send = |unit| async move { enqueue_unit(&*self.store, &*self.queue, &unit, Duration::ZERO, now()).await };
        let sent = futures::stream::iter(units).map(send).buffer_unordered(SENT_AT_ONCE);
        sent.fold(Ok(()), async |all, one| Result::and(all, one)).await
    }

    /// Settles the message of a unit.
    #[instrument(skip_all, fields(layer.digest = %key.layer))]
    pub(crate) async fn settle_unit(&self, key: &UnitKey, owner: &str, stop: &Stop) -> Result<(), StoreError> {
        let started = start_unit(&*self.store, key, owner, &self.policy, now()).await?;
        let Some(UnitStart { task, unit, start }) = started else { return Ok(()) };
        match start {
            Start::Run => self.run_unit(&task, &unit, owner, stop).await,
            Start::Later(wait) => enqueue_unit(&*self.store, &*self.queue, &unit, wait, now()).await,
            Start::OutOfAttempts => {
                self.ended(&task);
                Ok(())
            }
            Start::Void | Start::Cancelled => Ok(()),
        }
    }

    async fn run_unit(&self, task: &Task, unit: &Unit, owner: &str, stop: &Stop) -> Result<(), StoreError> {
        info!(image.source = %task.written, attempt = unit.work.attempts + 1, "layer started");
        let counts = Counts::default();
        let running = AssertUnwindSafe(self.convert_unit(task, unit, &counts, stop)).catch_unwind();
        let outcome = tokio::select! {
            outcome = running => outcome.unwrap_or(Err(RunError::Panicked)),
            never = self.beat(unit, owner, stop) => match never {},
        };
        let error = match outcome {
            Ok(Some(_)) => return self.finished(&unit.key, counts.seen().1).await,
            Ok(None) => return self.nothing_to_convert(&unit.key).await,
            Err(error) => error,
        };
        report::failed_layer(unit, &error);
        match error.class() {
            _ if matches!(error.stop_reason(), Some(StopReason::Cancelled | StopReason::LeaseLost)) => Ok(()),
            ErrorClass::Permanent => self.fail_own(unit, owner, &report::reason(&error)).await,
            ErrorClass::Transient(_) | ErrorClass::Interrupted => self.try_again(unit, owner, &error, &counts).await,
        }
    }

    async fn convert_unit(
        &self,
        task: &Task,
        unit: &Unit,
        counts: &Counts,
        stop: &Stop,
    ) -> Result<Option<LayerReport>, RunError> {
        let (job, layer) = (self.job(task)?, unit.key.layer);
        Ok(convert_layer(&self.engine, &*self.store, &job, layer, counts, stop.signal(), now).await?)
    }

    /// Renews the unit's lease, and hears of cancellation, for ever.
    async fn beat(&self, unit: &Unit, owner: &str, stop: &Stop) -> Infallible {
        loop {
            tokio::time::sleep(LEASE_RENEWAL).await;
            heed(renew_unit(&*self.store, unit, owner, now()).await, stop);
        }
    }

    /// The layer is finished and remembered: the task is told, and its message sent if this was the last one.
    async fn finished(&self, key: &UnitKey, did: Progress) -> Result<(), StoreError> {
        let at = now();
        let finish = |task: &mut Task| Ok(task.finish_unit(key.generation, key.layer, did, at)?);
        match unless_void(self.store.update(&key.task, at, finish).await)? {
            Some((task, true)) => enqueue(&*self.store, &*self.queue, &task, Duration::ZERO, now()).await,
            Some((_, false)) | None => Ok(()),
        }
    }

    /// Whoever runs the task itself finds out why, and ends it.
    async fn nothing_to_convert(&self, key: &UnitKey) -> Result<(), StoreError> {
        let at = now();
        let gather = |task: &mut Task| Ok(task.gather(key.generation, at)?);
        match unless_void(self.store.update(&key.task, at, gather).await)? {
            Some((task, ())) => enqueue(&*self.store, &*self.queue, &task, Duration::ZERO, now()).await,
            None => Ok(()),
        }
    }

    /// Fails the task, unless somebody else has the unit by now: it is theirs to say.
    async fn fail_own(&self, unit: &Unit, owner: &str, reason: &str) -> Result<(), StoreError> {
        match unless_void(renew_unit(&*self.store, unit, owner, now()).await)? {
            Some(Renewal::Held) => self.fail(&unit.key, reason).await,
            Some(Renewal::Cancel) | None => Ok(()),
        }
    }

    async fn fail(&self, key: &UnitKey, reason: &str) -> Result<(), StoreError> {
        if let Some(task) = fail_unit(&*self.store, key, reason, &self.policy, now()).await? {
            self.ended(&task);
        }
        Ok(())
    }

    /// The unit is queued again; its task fails if nothing is left to try.
    async fn try_again(&self, unit: &Unit, owner: &str, error: &RunError, counts: &Counts) -> Result<(), StoreError> {
        let (at, policy) = (now(), &self.policy);
        let stalled = counts.working_on().filter(|_| error.stop_reason() == Some(StopReason::Deadline)).map(too_large);
        let step = |unit: &mut Unit| {
            Ok(match error.class() {
                ErrorClass::Transient(retry) => unit.retry_later(owner, retry, &report::reason(error), policy, at)?,
                ErrorClass::Permanent | ErrorClass::Interrupted => {
                    unit.interrupted(owner, stalled.as_deref(), policy, at)?
                }
            })
        };
        let Some((unit, next)) = unless_void(self.store.update_unit(unit, step).await)? else { return Ok(()) };
        match next {
            Next::Again(wait) => enqueue_unit(&*self.store, &*self.queue, &unit, wait, now()).await,
            Next::Parked | Next::Units => Ok(()),
            Next::Ended => self.fail(&unit.key, &unit.reason).await,
        }
    }
}

/// `None` where somebody else has the unit now, or its task does not wait for it any more.
fn unless_void<T>(written: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(StoreError::Refused(refused)) => {
            tracing::warn!(%refused, "the result of this run is void");
            Ok(None)
        }
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
