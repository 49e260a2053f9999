//! A task as the API shows it: acceld's fields first, ours after them.

use std::fmt;

use accel_image::Digest;
use serde::{Deserialize, Serialize};

use super::{Phase, State, Task};
use crate::{Format, Timestamp};

/// acceld's three states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Queued, running or fanned out.
    Processing,
    /// Ended well.
    Completed,
    /// Ended otherwise.
    Failed,
}

impl From<State> for Status {
    fn from(state: State) -> Self {
        match state {
            State::Queued | State::Running | State::FannedOut => Self::Processing,
            State::Completed | State::Superseded | State::AlreadyAccelerated | State::Joined => Self::Completed,
            State::Failed | State::Cancelled => Self::Failed,
        }
    }
}

impl fmt::Display for Status {
    /// The word of the API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One row of the task list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The task's id.
    pub id: String,
    /// When it was accepted, RFC 3339.
    pub created: String,
    /// When it ended, RFC 3339; year 1 while it has not.
    pub finished: String,
    /// The source as the event wrote it.
    pub source: String,
    /// Bytes, 0 until it has completed.
    pub source_size: u64,
    /// Bytes, 0 until it has completed.
    pub target_size: u64,
    /// acceld's status.
    pub status: Status,
    /// Why it ended as it did, or why its last attempt did not succeed.
    pub reason: String,
    /// Where the result goes.
    pub target: String,
    /// The source's digest, once known.
    pub source_digest: Option<Digest>,
    /// The digest under the target tag, once completed.
    pub target_digest: Option<Digest>,
    /// The format.
    pub format: Format,
    /// What it is doing.
    pub phase: Phase,
    /// 0 to 1, by layers.
    pub progress: f64,
    /// Distinct source layers.
    pub layers_total: u32,
    /// Layers converted.
    pub layers_converted: u32,
    /// Layers whose result was remembered.
    pub layers_reused: u32,
    /// Layers mounted from another repository.
    pub layers_mounted: u32,
    /// Layers that stay as they were.
    pub layers_kept: u32,
    /// Seconds from acceptance to the end, or to now.
    pub duration_seconds: f64,
    /// Attempts used.
    pub attempts: u32,
}

/// What acceld writes for a time that is not yet.
const NOT_YET: &str = "0001-01-01T00:00:00Z";

impl Shown {
    /// How `task` looks at `now`. A joined task is shown through [`Shown::through`].
    #[must_use]
    pub fn of(task: &Task, now: Timestamp) -> Self {
        let progress = task.progress;
        let whole = Status::from(task.state) == Status::Completed;
        let until = task.finished.unwrap_or(now);
        Self {
            id: task.id.to_string(),
            created: task.created.to_string(),
            finished: task.finished.map_or_else(|| NOT_YET.to_owned(), |at| at.to_string()),
            source: task.written.clone(),
            source_size: task.sizes.source,
            target_size: task.sizes.target,
            status: task.state.into(),
            reason: task.reason.clone(),
            target: task.target.to_string(),
            source_digest: task.digest,
            target_digest: task.target_digest,
            format: task.output.options.format(),
            phase: task.phase,
            progress: share(progress.layers_done(), progress.layers_total, whole),
            layers_total: progress.layers_total,
            layers_converted: progress.layers_converted,
            layers_reused: progress.layers_reused,
            layers_mounted: progress.layers_mounted,
            layers_kept: progress.layers_kept,
            duration_seconds: until.duration_since(task.created).as_secs_f64().max(0.0),
            attempts: task.work.attempts,
        }
    }

    /// How a joined task looks: `other`'s state, sizes and reason under its own id, source and creation.
    #[must_use]
    pub fn through(task: &Task, other: &Task, now: Timestamp) -> Self {
        Self {
            id: task.id.to_string(),
            created: task.created.to_string(),
            source: task.written.clone(),
            ..Self::of(other, now)
        }
    }
}

fn share(done: u32, total: u32, whole: bool) -> f64 {
    match total {
        _ if whole => 1.0,
        0 => 0.0,
        total => (f64::from(done) / f64::from(total)).min(1.0),
    }
}
