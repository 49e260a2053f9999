//! A task under its lease: what it does, and how that can end.

use std::collections::BTreeSet;

use accel_domain::task::{Done, Phase, Progress, Sizes, State, Task, TaskId, TaskKind};
use accel_domain::{ErrorClass, Retry};
use accel_image::Digest;
use accel_pipeline::{ConvertError, Event, Observer, StopReason, StopSignal};
use accel_registry::RegistryError;
use accel_tasks::{LayerCache, StoreError, TaskQueue, TaskStore};

use crate::counts::Counts;
use crate::heartbeat::Heartbeat;
use crate::settle::{Converter, TARGET_BUSY};

/// How a run ended well.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    Done(Done),
    /// Another live task does the same.
    Joined(TaskId),
    /// These layers are for messages of their own.
    FannedOut(BTreeSet<Digest>),
}

impl Ended {
    pub(crate) fn done(state: State, reason: &'static str, sizes: Sizes, target_digest: Option<Digest>) -> Self {
        Self::Done(Done { state, reason, sizes, target_digest, progress: Progress::default() })
    }
}

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The conversion failed.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A registry failed or refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The source tag points at nothing.
    #[error("{0} does not exist, or the registry's user may not see it")]
    SourceGone(String),
    /// Another task moves the same tag.
    #[error("another task is moving the tag {0}")]
    TargetBusy(String),
    /// The code failed.
    #[error("an internal error ended the task; the log has its backtrace")]
    Panicked,
}

impl RunError {
    /// What the error means for the task.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Convert(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::SourceGone(_) | Self::Panicked => ErrorClass::Permanent,
            Self::TargetBusy(_) => ErrorClass::Transient(Retry::Busy { after: TARGET_BUSY }),
        }
    }

    /// Why the run was stopped, if it was.
    #[must_use]
    pub const fn stop_reason(&self) -> Option<StopReason> {
        match self {
            Self::Convert(ConvertError::Stopped(reason)) => Some(*reason),
            Self::Convert(_)
            | Self::Registry(_)
            | Self::Store(_)
            | Self::SourceGone(_)
            | Self::TargetBusy(_)
            | Self::Panicked => None,
        }
    }
}

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    /// Does what the task says.
    pub(crate) async fn run(
        &self,
        task: &Task,
        counts: &Counts,
        stop: StopSignal,
        heartbeat: &Heartbeat<'_, S, Q>,
    ) -> Result<Ended, RunError> {
        match task.kind {
            TaskKind::Convert => self.convert(task, counts, stop, heartbeat).await,
            TaskKind::Delete => self.delete(task, counts, heartbeat).await,
        }
    }

    /// Asks once more whether the tag may be moved, right before it is: takes the target's lease and renews the task's.
    pub(crate) async fn may_move_tag(
        &self,
        task: &Task,
        counts: &Counts,
        heartbeat: &Heartbeat<'_, S, Q>,
    ) -> Result<(), RunError> {
        if !heartbeat.take_target().await? {
            return Err(RunError::TargetBusy(task.target.to_string()));
        }
        counts.event(&Event::Phase(Phase::Tag));
        match heartbeat.renew().await? {
            accel_domain::task::Renewal::Held => Ok(()),
            accel_domain::task::Renewal::Cancel => Err(ConvertError::Stopped(StopReason::Cancelled).into()),
        }
    }
}
