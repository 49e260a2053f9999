//! A conversion: resolve, convert, move the tag under the target's lease.

use accel_domain::Timestamp;
use accel_domain::marker::source_name;
use accel_domain::task::{NewTask, Sizes, State, Task, TaskId};
use accel_image::Digest;
use accel_pipeline::{ConvertedImage, Job, Outcome, StopSignal, Tagged, Tally, convert_image, move_tag};
use accel_stream::Limits;
use accel_tasks::{LayerCache, StoreError, TaskQueue, TaskStore, enqueue};

use crate::heartbeat::Heartbeat;
use crate::run::{Ended, RunError};
use crate::settle::Converter;

impl<S: TaskStore + TaskQueue + LayerCache> Converter<S> {
    pub(crate) async fn convert(
        &self,
        task: &Task,
        tally: &Tally,
        stop: StopSignal,
        heartbeat: &Heartbeat<'_, S>,
    ) -> Result<Ended, RunError> {
        let mut job = self.job(task)?;
        if job.digest.is_none() {
            match self.resolve(task, &job).await? {
                Resolved::Digest(digest) => job.digest = Some(digest),
                Resolved::Joined(other) => return Ok(Ended::Joined(other)),
            }
        }
        match convert_image(&self.engine, &*self.store, &job, tally, stop, Timestamp::now).await? {
            Outcome::AlreadyAccelerated { target_digest } => {
                Ok(Ended::done(State::AlreadyAccelerated, "already accelerated", Sizes::default(), target_digest))
            }
            Outcome::NotAnImage(media_type) => {
                tracing::info!(%media_type, "not a container image");
                Ok(Ended::done(State::Completed, "not a container image", Sizes::default(), None))
            }
            Outcome::Converted(image) => {
                self.may_move_tag(task, tally, heartbeat).await?;
                self.tag(task, &job, &image).await
            }
        }
    }

    async fn tag(&self, task: &Task, job: &Job, image: &ConvertedImage) -> Result<Ended, RunError> {
        let target = Some(image.target_digest());
        match move_tag(job, image).await? {
            Tagged::Moved => Ok(Ended::done(State::Completed, "", image.sizes, target)),
            Tagged::Superseded { now, ours } => {
                if let Some(now) = now.filter(|_| ours && !job.overwrites()) {
                    self.follow(task, now).await?;
                }
                Ok(Ended::done(State::Superseded, "superseded by a newer push", Sizes::default(), None))
            }
        }
    }

    fn job(&self, task: &Task) -> Result<Job, RunError> {
        let source_key = match (task.source.tag(), task.digest) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => digest.to_string(),
            (None, None) => task.source.manifest_key(),
        };
        Ok(Job {
            source: self.registries.repository(&task.source)?.into(),
            source_key,
            source_name: source_name(&task.source),
            digest: task.digest,
            target: self.registries.repository(&task.target)?.into(),
            target_key: task.target.manifest_key(),
            output: task.output.clone(),
            rule_hash: task.rule_hash,
            limits: self.limits(task.source.host()),
        })
    }

    /// What the configuration allows of layers from `host`.
    fn limits(&self, host: &str) -> Limits {
        let limits = self.config.transport(host).map(|registry| registry.limits).unwrap_or_default();
        Limits {
            entries: limits.entries,
            path_bytes: limits.path.0,
            pax_bytes: limits.pax.0,
            layer_bytes: limits.layer.0,
            ratio: limits.ratio.into(),
            zstd_window_bytes: limits.zstd_window.0,
        }
    }

    /// Finds out what the tag points at, and re-keys the task: from now on, later requests make a new one.
    async fn resolve(&self, task: &Task, job: &Job) -> Result<Resolved, RunError> {
        let head = job.source.head_manifest(&job.source_key).await?;
        let digest = head.ok_or_else(|| RunError::SourceGone(task.written.clone()))?.digest;
        let now = self.now();
        let resolve = |task: &mut Task| {
            let generation = task.generation;
            Ok(task.resolve(&self.owner, generation, digest)?)
        };
        match self.store.update(&task.id, now, resolve).await {
            Ok(_) => Ok(Resolved::Digest(digest)),
            Err(StoreError::KeyTaken(other)) => Ok(Resolved::Joined(other)),
            Err(error) => Err(error.into()),
        }
    }

    /// The target tag carries a stale result although the source has moved on: a task for what it has now. A live task
    /// for that digest has not come to its tag yet, since this one holds the lease of the target.
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
            self.now(),
        );
        let admission = self.store.admit(&next).await?;
        if let Some(unsent) = admission.unsent(&next) {
            enqueue(&*self.store, &*self.store, unsent, std::time::Duration::ZERO, self.now()).await?;
        }
        Ok(())
    }
}

/// What an unresolved tag turned out to be.
enum Resolved {
    Digest(Digest),
    /// Another live task is for this digest.
    Joined(TaskId),
}
