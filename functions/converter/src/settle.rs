//! One message: start its task, run it, record what became of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::config::Config;
use accel_domain::task::{Done, Next, RetryPolicy, Start, Task};
use accel_domain::{ErrorClass, Timestamp};
use accel_image::Digest;
use accel_pipeline::{Engine, Stop, StopReason};
use accel_registry::Registries;
use accel_runtime::Metrics;
use accel_runtime::clock::now;
use accel_tasks::{LayerCache, Message, StoreError, TaskQueue, TaskStore, enqueue};
use futures::FutureExt;
use tracing::{error, info, instrument, warn};

use crate::counts::Counts;
use crate::heartbeat::Heartbeat;
use crate::report;
use crate::run::{Ended, RunError};

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is settled.
    Acknowledge,
    /// What became of it could not be recorded now: it has to come back later.
    PutOff,
    /// No later attempt settles it, either: it comes back as it is, until its queue gives it up and somebody looks.
    Return,
}

/// Runs tasks. One for each process; messages are settled concurrently.
pub struct Converter<S, Q> {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<S>,
    pub(crate) queue: Arc<Q>,
    pub(crate) registries: Registries,
    pub(crate) engine: Engine,
    pub(crate) policy: RetryPolicy,
    pub(crate) owner: String,
    pub(crate) metrics: Metrics,
}

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    /// A converter for the registries of `config`. Its leases are held under a name of its own.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        store: Arc<S>,
        queue: Arc<Q>,
        registries: Registries,
        engine: Engine,
        metrics: Metrics,
    ) -> Self {
        let owner = uuid::Uuid::new_v4().to_string();
        Self { policy: config.retry_policy(), config, store, queue, registries, engine, owner, metrics }
    }

    /// Settles one message. `stop` ends the work in an orderly way; `interrupted` tasks go on later.
    #[instrument(skip_all, fields(task.id = %message.task, task.generation = message.generation))]
    pub async fn settle(&self, message: &Message, stop: &Stop) -> Verdict {
        let owner = format!("{}/{}", self.owner, uuid::Uuid::new_v4());
        // Boxed: they are large, and there is one of them.
        let settled = match message.unit() {
            Some(unit) => self.settle_unit(&unit, &owner, stop).boxed().await,
            None => self.settle_task(message, &owner, stop).boxed().await,
        };
        match settled {
            Ok(()) => Verdict::Acknowledge,
            Err(error) => unsettled(&error),
        }
    }

    async fn settle_task(&self, message: &Message, owner: &str, stop: &Stop) -> Result<(), StoreError> {
        match self.start(message, owner).await {
            Ok((task, Start::Run)) => self.run_and_record(task, owner, stop).await,
            Ok((task, Start::Later(wait))) => enqueue(&*self.store, &*self.queue, &task, wait, now()).await,
            Ok((task, Start::OutOfAttempts | Start::Cancelled)) => {
                self.ended(&task);
                Ok(())
            }
            Ok((_, Start::Void)) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn start(&self, message: &Message, owner: &str) -> Result<(Task, Start), StoreError> {
        let at = now();
        let start = |task: &mut Task| Ok(task.start(message.generation, owner, &self.policy, at));
        self.store.update(&message.task, at, start).await
    }

    async fn run_and_record(&self, task: Task, owner: &str, stop: &Stop) -> Result<(), StoreError> {
        info!(image.source = %task.written, image.target = %task.target, attempt = task.work.attempts + 1, "task started");
        let _in_flight = self.metrics.conversion_started();
        let counts = Counts::of(&task);
        let heartbeat = Heartbeat::new(self, owner, &task, &counts, stop);
        let running = AssertUnwindSafe(self.run(&task, &counts, stop.signal(), &heartbeat)).catch_unwind();
        let outcome = tokio::select! {
            outcome = running => outcome.unwrap_or(Err(RunError::Panicked)),
            never = heartbeat.beat() => match never {},
        };
        counts.phases().into_iter().for_each(|(phase, took)| self.metrics.phase_took(phase, took));
        let recorded = self.record(&task, owner, &counts, outcome).await;
        heartbeat.release_target().await;
        recorded
    }

    pub(crate) fn ended(&self, task: &Task) {
        report::ended(task);
        report::measured(task, &self.metrics);
    }

    /// Writes what became of the task, and sends the message of its next attempt.
    async fn record(
        &self,
        task: &Task,
        owner: &str,
        counts: &Counts,
        outcome: Result<Ended, RunError>,
    ) -> Result<(), StoreError> {
        let at = now();
        let (generation, policy) = (task.generation, &self.policy);
        let progress = counts.seen().1;
        // By the task as this run found it: the renewals of its lease have noted what it has finished since.
        let stalled = outcome.as_ref().err().and_then(|error| stalled(task, error, counts));
        let recorded = self.store.update(&task.id, at, |task| {
            Ok(match &outcome {
                Ok(Ended::Done(done)) => {
                    task.complete(owner, generation, Done { progress, ..*done }, policy, at)?;
                    Next::Ended
                }
                Ok(Ended::Joined(other)) => {
                    task.join(owner, generation, other.clone(), policy, at)?;
                    Next::Ended
                }
                Ok(Ended::FannedOut(units)) => {
                    task.progress = progress;
                    task.fan_out(owner, generation, units.clone(), policy, at)?
                }
                Err(error) => {
                    task.progress = progress;
                    step_after(task, error, stalled.as_deref(), owner, policy, at)?
                }
            })
        });
        let (task, next) = match recorded.await {
            Ok(recorded) => recorded,
            // Somebody else has the task now, or it has ended: it is theirs to record.
            Err(StoreError::Refused(refused)) => {
                warn!(%refused, "the result of this run is void");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Err(error) = &outcome {
            report::failed_attempt(&task, error);
        }
        match next {
            Next::Again(wait) => enqueue(&*self.store, &*self.queue, &task, wait, now()).await,
            Next::Parked => Ok(()),
            Next::Units => self.enqueue_units(&task).await,
            Next::Ended => {
                self.ended(&task);
                Ok(())
            }
        }
    }
}

/// What an error of the store or the queue means for the message: the class decides.
fn unsettled(error: &StoreError) -> Verdict {
    match error.class() {
        ErrorClass::Transient(_) | ErrorClass::Interrupted => {
            warn!(%error, "the message comes back later: what became of its task could not be recorded");
            Verdict::PutOff
        }
        ErrorClass::Permanent => {
            error!(%error, "the message comes back, and no attempt settles it: somebody has to look at its task");
            Verdict::Return
        }
    }
}

/// What an error means for the task: the class decides.
fn step_after(
    task: &mut Task,
    error: &RunError,
    stalled: Option<&str>,
    owner: &str,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<Next, StoreError> {
    let generation = task.generation;
    if error.stop_reason() == Some(StopReason::Cancelled) {
        task.stopped(owner, generation, policy, now)?;
        return Ok(Next::Ended);
    }
    Ok(match error.class() {
        ErrorClass::Transient(retry) => {
            task.retry_later(owner, generation, retry, &report::reason(error), policy, now)?
        }
        ErrorClass::Permanent => {
            task.fail(owner, generation, &report::reason(error), policy, now)?;
            Next::Ended
        }
        ErrorClass::Interrupted => task.interrupted(owner, generation, stalled, policy, now)?,
    })
}

/// What to tell of a run that the deadline has ended although it finished no layer: the layer, and the way out.
fn stalled(task: &Task, error: &RunError, counts: &Counts) -> Option<String> {
    let (_, progress) = counts.seen();
    let fruitless = progress.layers_total > 0 && progress.layers_done() <= task.layers_finished;
    let layer = counts.working_on().filter(|_| fruitless && error.stop_reason() == Some(StopReason::Deadline))?;
    Some(too_large(layer))
}

/// What to tell of a layer of so many bytes that no invocation finishes.
pub(crate) fn too_large((layer, size): (Digest, u64)) -> String {
    format!(
        "layer {layer} of {size} bytes does not finish within an invocation, twice: give the function more time or \
         memory, or convert the image with `accelctl convert`"
    )
}

/// While a target is taken, a task looks again after this.
pub(crate) const TARGET_BUSY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_go_well_later_is_put_off() {
        let rows = [
            (StoreError::Unavailable("time-out".to_owned()), Verdict::PutOff),
            (StoreError::Conflict, Verdict::PutOff),
            (StoreError::InUse("accel.redb".to_owned()), Verdict::PutOff),
            (StoreError::Damaged { what: "task a".to_owned(), detail: "no digest".to_owned() }, Verdict::Return),
            (StoreError::BadCursor, Verdict::Return),
        ];
        for (error, expected) in rows {
            assert_eq!(unsettled(&error), expected, "{error}");
        }
    }
}
