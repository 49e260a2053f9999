//! The store of tasks.

use std::future::Future;
use std::time::Duration;

use accel_domain::task::{Refused, Status, Task, TaskId};
use accel_domain::{ErrorClass, Timestamp};
use accel_image::Reference;

/// Whether a new task was written, or which one stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It was written.
    Created,
    /// The same delivery, or a live task of the same key, is there already.
    Joined(TaskId),
}

/// Which tasks a list shows, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only these.
    pub status: Option<Status>,
    /// Only tasks whose source, as written or as host/repository:tag, contains this.
    pub source: Option<String>,
    /// Only tasks of these `host` or `host/project` prefixes; `None` means all.
    pub visible: Option<Vec<String>>,
    /// At most so many; stores cap it at 1,000.
    pub limit: Option<usize>,
    /// Where the page before ended, as [`Page::next`] gave it.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The cursor of the next page, if there is one. Opaque; new tasks do not disturb it.
    pub next: Option<String>,
}

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The task was changed by somebody else since it was read.
    #[error("the task was changed by somebody else")]
    Conflict,
    /// There is no such task.
    #[error("there is no task {0}")]
    NotFound(TaskId),
    /// The task's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A cursor that this store did not give.
    #[error("the cursor is not one that a list gave")]
    BadCursor,
    /// What was read is not what was written.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which record or file.
        what: String,
        /// What is wrong with it, and the way out.
        detail: String,
    },
    /// Somebody else uses the store.
    #[error("{0} is in use by another process: one process at a time can serve a store")]
    InUse(String),
    /// The store could not be reached, or could not write.
    #[error("the task store failed: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// What the error means for the task at hand.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Conflict | Self::Unavailable(_) | Self::InUse(_) => ErrorClass::BACKOFF,
            Self::NotFound(_) | Self::Refused(_) | Self::BadCursor | Self::Damaged { .. } => ErrorClass::Permanent,
        }
    }
}

/// Keeps tasks. Every write is durable before it returns.
pub trait TaskStore: Send + Sync + 'static {
    /// Writes `task` unless its delivery was admitted before or a live task has its key; in one step.
    fn admit(&self, task: &Task) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// Reads one task; an expired one is not there.
    fn get(&self, id: &TaskId, now: Timestamp) -> impl Future<Output = Result<Option<Task>, StoreError>> + Send;

    /// Writes `task` if the stored revision is still `task.revision`; the stored one is one higher. Frees or claims
    /// the live key with it. Claiming a key that another live task has is [`StoreError::Conflict`].
    fn replace(&self, task: &Task) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The live task with this [`Task::live_key`].
    fn live(&self, key: &str) -> impl Future<Output = Result<Option<TaskId>, StoreError>> + Send;

    /// Tasks, newest first, without the expired ones.
    fn list(&self, query: &ListQuery, now: Timestamp) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Up to `limit` tasks for which [`Task::sweep`] has something to say at `now`.
    fn to_sweep(&self, limit: usize, now: Timestamp) -> impl Future<Output = Result<Vec<Task>, StoreError>> + Send;

    /// Takes, or renews, the lease of a target reference. `false` if somebody else holds it at `now`.
    fn lease_target(
        &self,
        target: &Reference,
        owner: &str,
        hold: Duration,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Gives the lease of a target back, if `owner` has it.
    fn release_target(&self, target: &Reference, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets what has expired. Returns how many tasks that were.
    fn purge(&self, now: Timestamp) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Whether the store can be read and written.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads, changes and writes a task until nobody comes between. `change` may run several times.
    fn update<T: Send>(
        &self,
        id: &TaskId,
        now: Timestamp,
        mut change: impl FnMut(&mut Task) -> Result<T, StoreError> + Send,
    ) -> impl Future<Output = Result<(Task, T), StoreError>> + Send {
        async move {
            loop {
                let mut task = self.get(id, now).await?.ok_or_else(|| StoreError::NotFound(id.clone()))?;
                let before = task.clone();
                let said = change(&mut task)?;
                if task == before {
                    return Ok((task, said));
                }
                match self.replace(&task).await {
                    Ok(()) => {
                        task.revision += 1;
                        return Ok((task, said));
                    }
                    Err(StoreError::Conflict) if task.live_key() == before.live_key() => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
