//! A conversion: resolve, convert, move the tag under the target's lease.

use accel_domain::config::FanOut;
use accel_domain::marker::source_name;
use accel_domain::task::{MAX_UNITS, NewTask, Sizes, State, Task, TaskId};
use accel_image::Digest;
use accel_pipeline::{ConvertError, Job, Outcome, Step, StopSignal, Tagged, confirm_tag, convert_or_fan_out, move_tag};
use accel_runtime::clock::now;
use accel_tasks::{LayerCache, StoreError, TaskQueue, TaskStore, enqueue};

use crate::counts::Counts;
use crate::heartbeat::Heartbeat;
use crate::hosts;
use crate::run::{Ended, RunError};
use crate::settle::Converter;

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    pub(crate) async fn convert(
        &self,
        task: &Task,
        counts: &Counts,
        stop: StopSignal,
        heartbeat: &Heartbeat<'_, S, Q>,
    ) -> Result<Ended, RunError> {
        let mut job = self.job(task)?;
        if job.digest.is_none() {
            match self.resolve(task, heartbeat.owner(), &job).await? {
                Resolved::Digest(digest) => job.digest = Some(digest),
                Resolved::Joined(other) => return Ok(Ended::Joined(other)),
            }
        }
        let outcome = match self.convert_or_fan_out(task, &job, counts, stop).await? {
            Step::Ended(outcome) => outcome,
            Step::FanOut(layers) => {
                let units = layers.iter().take(MAX_UNITS).map(|layer| layer.digest);
                return Ok(Ended::FannedOut(units.collect()));
            }
        };
        match outcome {
            Outcome::Converted(image) => {
                self.may_move_tag(task, counts, heartbeat).await?;
                let done = Ended::done(State::Completed, "", image.sizes, Some(image.target_digest()));
                self.tagged(task, &job, move_tag(&job, &image).await?, done).await
            }
            Outcome::AlreadyThere { source_digest, target_digest } => {
                self.may_move_tag(task, counts, heartbeat).await?;
                let done = already_accelerated(Some(target_digest));
                self.tagged(task, &job, confirm_tag(&job, source_digest).await?, done).await
            }
            Outcome::AlreadyAccelerated(_) => Ok(already_accelerated(None)),
            Outcome::Superseded { now } => Ok(superseded(now)),
            Outcome::NotAnImage(media_type) => {
                tracing::info!(%media_type, "not a container image");
                Ok(Ended::done(State::Completed, "not a container image", Sizes::default(), None))
            }
        }
    }

    /// A task that has fanned out before does the rest by itself.
    async fn convert_or_fan_out(
        &self,
        task: &Task,
        job: &Job,
        counts: &Counts,
        stop: StopSignal,
    ) -> Result<Step, ConvertError> {
        let limits = if task.fan_out.is_some() { FanOut::default() } else { self.config.tasks.fan_out };
        convert_or_fan_out(&self.engine, &*self.store, job, limits, counts, stop, now).await
    }

    /// `done` if the tag has what it should; otherwise the newer push wins, and has a task if nothing else sees to it.
    async fn tagged(&self, task: &Task, job: &Job, tagged: Tagged, done: Ended) -> Result<Ended, RunError> {
        match tagged {
            Tagged::Moved => Ok(done),
            Tagged::Replaced => Err(RunError::TargetBusy(task.target.to_string())),
            Tagged::Superseded { now, ours } => {
                if let Some(digest) = now.filter(|_| ours && !job.overwrites()) {
                    self.follow(task, digest).await?;
                }
                Ok(superseded(now))
            }
        }
    }

    pub(crate) fn job(&self, task: &Task) -> Result<Job, RunError> {
        let source_key = match (task.source.tag(), task.digest) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => digest.to_string(),
            (None, None) => task.source.manifest_key(),
        };
        let dictionary = task.output.options.chunk_dictionary();
        let dictionary = dictionary.map(|image| self.registries.repository(image)).transpose()?;
        Ok(Job {
            source: self.registries.repository(&task.source)?.into(),
            source_key,
            source_name: source_name(&task.source),
            digest: task.digest,
            target: self.registries.repository(&task.target)?.into(),
            target_key: task.target.manifest_key(),
            dictionary: dictionary.map(Into::into),
            output: task.output.clone(),
            rule_hash: task.rule_hash,
            limits: hosts::limits(&self.config, task.source.host()),
        })
    }

    /// Finds out what the tag points at, and re-keys the task: from now on, later requests make a new one.
    async fn resolve(&self, task: &Task, owner: &str, job: &Job) -> Result<Resolved, RunError> {
        let head = job.source.head_manifest(&job.source_key).await?;
        let digest = head.ok_or_else(|| RunError::SourceGone(task.written.clone()))?.digest;
        let now = now();
        let resolve = |task: &mut Task| {
            let generation = task.generation;
            Ok(task.resolve(owner, generation, digest)?)
        };
        match self.store.update(&task.id, now, resolve).await {
            Ok(_) => Ok(Resolved::Digest(digest)),
            Err(StoreError::KeyTaken(other)) => Ok(Resolved::Joined(other)),
            Err(error) => Err(error.into()),
        }
    }

    /// The target tag carries a stale result although the source has moved on: a task for what it has now. A live task
    /// for that digest has still to look at the tag, since that is done under the lease that this one holds.
    async fn follow(&self, task: &Task, digest: Digest) -> Result<(), RunError> {
        let next = Task::new(
            NewTask {
                id: TaskId::try_from(uuid::Uuid::new_v4().to_string()).expect("a UUID is a task id"),
                kind: task.kind,
                written: task.written.clone(),
                source: task.source.clone(),
                digest: Some(digest),
                target: task.target.clone(),
                output: task.output.clone(),
                rule_hash: task.rule_hash,
                delivery: None,
            },
            now(),
        );
        let admission = self.store.admit(&next).await?;
        if let Some(unsent) = admission.unsent(&next) {
            enqueue(&*self.store, &*self.queue, unsent, std::time::Duration::ZERO, now()).await?;
        }
        Ok(())
    }
}

fn already_accelerated(target_digest: Option<Digest>) -> Ended {
    Ended::done(State::AlreadyAccelerated, "already accelerated", Sizes::default(), target_digest)
}

fn superseded(now: Option<Digest>) -> Ended {
    let reason = if now.is_some() { "superseded by a newer push" } else { "the source tag is gone" };
    Ended::done(State::Superseded, reason, Sizes::default(), None)
}

/// What an unresolved tag turned out to be.
enum Resolved {
    Digest(Digest),
    /// Another live task is for this digest.
    Joined(TaskId),
}
