//! One message: start its task, run it, record what became of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::config::Config;
use accel_domain::task::{Done, Next, RetryPolicy, Start, Task};
use accel_domain::{ErrorClass, Timestamp};
use accel_pipeline::{Engine, Stop, StopReason, Tally};
use accel_registry::Registries;
use accel_runtime::Metrics;
use accel_tasks::{LayerCache, Message, StoreError, TaskQueue, TaskStore, enqueue};
use futures::FutureExt;
use tracing::{info, instrument, warn};

use crate::heartbeat::Heartbeat;
use crate::report;
use crate::run::{Ended, RunError};

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is settled.
    Acknowledge,
    /// What became of it could not be recorded: it has to come back.
    Return,
}

/// Runs tasks. One for each process; messages are settled concurrently.
pub struct Converter<S> {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<S>,
    pub(crate) registries: Registries,
    pub(crate) engine: Engine,
    pub(crate) policy: RetryPolicy,
    pub(crate) owner: String,
    pub(crate) metrics: Metrics,
}

impl<S: TaskStore + TaskQueue + LayerCache> Converter<S> {
    /// A converter for the registries of `config`. Its leases are held under a name of its own.
    #[must_use]
    pub fn new(config: Arc<Config>, store: Arc<S>, registries: Registries, engine: Engine, metrics: Metrics) -> Self {
        let owner = uuid::Uuid::new_v4().to_string();
        Self { policy: config.retry_policy(), config, store, registries, engine, owner, metrics }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Settles one message. `stop` ends the work in an orderly way; `interrupted` tasks go on later.
    #[instrument(skip_all, fields(task.id = %message.task, task.generation = message.generation))]
    pub async fn settle(&self, message: &Message, stop: &Stop) -> Verdict {
        let settled = match self.start(message).await {
            Ok((task, Start::Run)) => self.run_and_record(task, stop).await,
            Ok((task, Start::Later(wait))) => enqueue(&*self.store, &*self.store, &task, wait, self.now()).await,
            Ok((task, Start::OutOfAttempts | Start::Cancelled)) => {
                report::ended(&task);
                Ok(())
            }
            Ok((_, Start::Void)) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        };
        match settled {
            Ok(()) => Verdict::Acknowledge,
            Err(error) => {
                warn!(error = %error, "the message comes back: what became of its task could not be recorded");
                Verdict::Return
            }
        }
    }

    async fn start(&self, message: &Message) -> Result<(Task, Start), StoreError> {
        let now = self.now();
        let start = |task: &mut Task| Ok(task.start(message.generation, &self.owner, &self.policy, now));
        self.store.update(&message.task, now, start).await
    }

    async fn run_and_record(&self, task: Task, stop: &Stop) -> Result<(), StoreError> {
        info!(image.source = %task.written, image.target = %task.target, attempt = task.attempts + 1, "task started");
        let _in_flight = self.metrics.conversion_started();
        let tally = Tally::default();
        let heartbeat = Heartbeat::new(self, &task, &tally, stop);
        let running = AssertUnwindSafe(self.run(&task, &tally, stop.signal(), &heartbeat)).catch_unwind();
        let outcome = tokio::select! {
            outcome = running => outcome.unwrap_or(Err(RunError::Panicked)),
            never = heartbeat.beat() => match never {},
        };
        let recorded = self.record(&task, &tally, outcome).await;
        heartbeat.release_target().await;
        recorded
    }

    /// Writes what became of the task, and sends the message of its next attempt.
    async fn record(&self, task: &Task, tally: &Tally, outcome: Result<Ended, RunError>) -> Result<(), StoreError> {
        let now = self.now();
        let (owner, generation, policy) = (self.owner.as_str(), task.generation, &self.policy);
        let progress = tally.seen().1;
        let recorded = self.store.update(&task.id, now, |task| {
            Ok(match &outcome {
                Ok(Ended::Done(done)) => {
                    task.complete(owner, generation, Done { progress, ..*done }, policy, now)?;
                    Next::Ended
                }
                Ok(Ended::Joined(other)) => {
                    task.join(owner, generation, other.clone(), policy, now)?;
                    Next::Ended
                }
                Err(error) => {
                    task.progress = progress;
                    step_after(task, error, owner, policy, now)?
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
            Next::Again(wait) => enqueue(&*self.store, &*self.store, &task, wait, self.now()).await,
            Next::Parked => Ok(()),
            Next::Ended => {
                report::ended(&task);
                report::measured(&task, &self.metrics);
                Ok(())
            }
        }
    }
}

/// What an error means for the task: the class decides.
fn step_after(
    task: &mut Task,
    error: &RunError,
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
        ErrorClass::Interrupted => task.interrupted(owner, generation, None, policy, now)?,
    })
}

/// While a target is taken, a task looks again after this.
pub(crate) const TARGET_BUSY: Duration = Duration::from_secs(2);
