//! A task: one source image and one output of a rule, or the deletion of such an output; and every step of its life.
//!
//! The transitions are pure: they look at the task and the time, change the task or refuse. A store applies them
//! under compare-and-swap on `revision`, so that each is one conditional write.

mod life;

mod fan_out;
mod unit;

mod retry;
mod work;

mod progress;
mod shown;
mod sweep;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use accel_image::{Digest, Reference};
use serde::{Deserialize, Serialize};

pub use fan_out::{FanOut, MAX_UNITS};
pub use life::{Done, Next, Refused, Renewal, Start};
pub use progress::Progress;
pub use retry::{LONGEST_DELAY, RetryPolicy};
pub use shown::{Shown, Status};
pub use sweep::Sweep;
pub use unit::{Unit, UnitKey};
pub use work::{Held, Lease, Work};

use crate::{Output, Timestamp};

/// How long a lease lasts.
pub const LEASE: Duration = Duration::from_secs(60);
/// How often its owner renews it.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(20);

/// The name of a task: a UUID, as acceld's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// A text that is not a task's id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a task id: ids are UUIDs, as `accelctl task list` shows them")]
pub struct TaskIdError(String);

impl FromStr for TaskId {
    type Err = TaskIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape =
            |(at, c): (usize, char)| if matches!(at, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() };
        if text.len() == 36 && text.chars().enumerate().all(shape) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(TaskIdError(text.chars().take(60).collect::<String>().escape_debug().to_string()))
        }
    }
}

impl TryFrom<String> for TaskId {
    type Error = TaskIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Converts the source and moves the target tag to the result.
    Convert,
    /// Removes the target, because its source was deleted.
    Delete,
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its message to be received, or for its time.
    Queued,
    /// Somebody holds its lease.
    Running,
    /// Its layers are converted by messages of their own; nobody holds its lease.
    FannedOut,
    /// Done.
    Completed,
    /// A newer push made its result useless.
    Superseded,
    /// The target was there already.
    AlreadyAccelerated,
    /// Another live task does the same; this one shows that task's state.
    Joined,
    /// Did not succeed and is not tried again by itself.
    Failed,
    /// Stopped by a person, or by the deletion of its source.
    Cancelled,
}

impl State {
    /// Whether the task is still to end.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::FannedOut)
    }
}

/// What a running task is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waits.
    #[default]
    Queued,
    /// Reads manifests and configurations.
    Resolve,
    /// Converts layers.
    Convert,
    /// Pushes configuration, manifest and index.
    Push,
    /// Moves the tag.
    Tag,
    /// Has ended.
    Done,
}

/// The result of a conversion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Configuration and layers of the source over the converted platforms, in bytes.
    pub source: u64,
    /// The same of the target.
    pub target: u64,
}

/// A task as stores keep it. Credentials are not in it: they are looked up when it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// Raised by every write; the condition of the next one.
    pub revision: u64,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When stores forget it: set when it ends.
    pub expires: Option<Timestamp>,
    /// The source as the event or the person wrote it.
    pub written: String,
    /// The source: host, repository and tag.
    pub source: Reference,
    /// The digest to convert; `None` until the tag is resolved.
    pub digest: Option<Digest>,
    /// Where the result goes.
    pub target: Reference,
    /// What is made of the source.
    pub output: Output,
    /// The identity of that.
    pub rule_hash: Digest,
    /// The delivery that made it, if it had a name.
    pub delivery: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// What it is doing.
    pub phase: Phase,
    /// Why it ended as it did, or why its last attempt did not succeed.
    pub reason: String,
    /// The live task that does the same, for [`State::Joined`].
    pub joined: Option<TaskId>,
    /// Raised by a retry; messages of older generations are void.
    pub generation: u32,
    /// The most layers ever seen finished in this generation. Only what goes beyond it is progress, so a run that
    /// finds again what an earlier one finished, and dies, has used an attempt.
    pub layers_finished: u32,
    /// Who runs it, how often it was tried, when it comes next.
    #[serde(flatten)]
    pub work: Work,
    /// Its units, once it has fanned out in this generation.
    #[serde(default)]
    pub fan_out: Option<FanOut>,
    /// Whether somebody wants it stopped.
    pub cancel_requested: bool,
    /// How far it is.
    pub progress: Progress,
    /// Sizes, once completed.
    pub sizes: Sizes,
    /// The digest under the target tag, once completed.
    pub target_digest: Option<Digest>,
}

/// What a new task is made of.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its name.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// The source as written.
    pub written: String,
    /// The source.
    pub source: Reference,
    /// Its digest, if known.
    pub digest: Option<Digest>,
    /// Where the result goes.
    pub target: Reference,
    /// What is made of it.
    pub output: Output,
    /// The identity of that.
    pub rule_hash: Digest,
    /// The delivery, if it has a name.
    pub delivery: Option<String>,
}

impl Task {
    /// A task that was just accepted.
    #[must_use]
    pub fn new(new: NewTask, now: Timestamp) -> Self {
        Self {
            id: new.id,
            kind: new.kind,
            revision: 0,
            created: now,
            finished: None,
            expires: None,
            written: new.written,
            source: new.source,
            digest: new.digest,
            target: new.target,
            output: new.output,
            rule_hash: new.rule_hash,
            delivery: new.delivery,
            state: State::Queued,
            phase: Phase::Queued,
            reason: String::new(),
            joined: None,
            generation: 1,
            layers_finished: 0,
            work: Work::default(),
            fan_out: None,
            cancel_requested: false,
            progress: Progress::default(),
            sizes: Sizes::default(),
            target_digest: None,
        }
    }

    /// The key under which events join this task while it is live.
    #[must_use]
    pub fn live_key(&self) -> String {
        self.live_key_as(self.kind)
    }

    /// The key of the task of another kind for the same source, digest and rule: a deletion finds by it the
    /// conversion that it has to cancel.
    #[must_use]
    pub fn live_key_as(&self, kind: TaskKind) -> String {
        let digest = self.digest.map_or_else(|| "unresolved".to_owned(), |d| d.to_string());
        format!("{kind:?} {} {digest} {}", crate::marker::source_name(&self.source), self.rule_hash.hex())
    }

    /// The key under which the same delivery finds this task, live or not.
    #[must_use]
    pub fn delivery_key(&self) -> Option<String> {
        self.delivery.as_ref().map(|delivery| format!("{:?} {delivery} {}", self.kind, self.rule_hash.hex()))
    }

    /// The source at the digest to convert, once it is known.
    #[must_use]
    pub fn pinned_source(&self) -> Option<Reference> {
        self.digest.map(|digest| self.source.with_digest(digest))
    }
}
