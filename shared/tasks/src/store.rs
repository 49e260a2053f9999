//! The store of tasks.

use std::future::Future;
use std::time::Duration;

use accel_domain::marker::source_name;
use accel_domain::task::{Refused, RetryPolicy, State, Status, Task, TaskId, Unit, UnitKey};
use accel_domain::{ErrorClass, Timestamp};
use accel_image::Reference;

/// Whether a new task was written, or which one stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It was written: send its message ([`crate::enqueue`]), then answer.
    Created,
    /// The same delivery, or a live task of the same key, is there already: this one, as it was read. If its message
    /// was never sent ([`Admission::unsent`]) it has to be sent before the event is answered.
    Joined(Box<Task>),
}

impl Admission {
    /// The task that stands for the event of which `task` was made.
    #[must_use]
    pub fn task<'a>(&'a self, task: &'a Task) -> &'a Task {
        match self {
            Self::Created => task,
            Self::Joined(other) => other,
        }
    }

    /// That task, if its message is still to be sent: what wrote it died before it sent one.
    #[must_use]
    pub fn unsent<'a>(&'a self, task: &'a Task) -> Option<&'a Task> {
        Some(self.task(task))
            .filter(|task| task.state == State::Queued && task.work.enqueued_at.is_none() && task.work.part == 0)
    }
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

/// The most rows of a page.
pub const PAGE_ROWS: usize = 1000;

impl ListQuery {
    /// Rows on a page: 1 to [`PAGE_ROWS`].
    #[must_use]
    pub fn rows(&self) -> usize {
        self.limit.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS)
    }

    /// Whether the list shows `task`. `shown` is the task whose state it shows: itself, or the one it has joined.
    #[must_use]
    pub fn covers(&self, task: &Task, shown: &Task) -> bool {
        let named = |text: &String| task.written.contains(text) || source_name(&task.source).contains(text);
        self.status.is_none_or(|status| status == shown.state.into())
            && self.source.as_ref().is_none_or(named)
            && self.visible.as_ref().is_none_or(|prefixes| is_visible(task, prefixes))
    }
}

/// Whether the source of `task` lies under one of these `host` or `host/project` prefixes.
#[must_use]
pub fn is_visible(task: &Task, prefixes: &[String]) -> bool {
    let (host, project) = (task.source.host(), task.source.project());
    prefixes.iter().any(|prefix| match prefix.split_once('/') {
        None => prefix == host,
        Some((own_host, own_project)) => own_host == host && own_project == project,
    })
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
    /// Another live task has the key that this one would claim.
    #[error("task {0} is for the same image and rule, and has not ended")]
    KeyTaken(TaskId),
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
            Self::KeyTaken(_) | Self::NotFound(_) | Self::Refused(_) | Self::BadCursor | Self::Damaged { .. } => {
                ErrorClass::Permanent
            }
        }
    }
}

/// Keeps tasks. Every write is durable before it returns.
pub trait TaskStore: Send + Sync + 'static {
    /// Writes `task` unless its delivery was admitted before or a live task has its key; in one step. What has
    /// expired when `task` was created does not count.
    fn admit(&self, task: &Task) -> impl Future<Output = Result<Admission, StoreError>> + Send;

    /// Reads one task; an expired one is not there.
    fn get(&self, id: &TaskId, now: Timestamp) -> impl Future<Output = Result<Option<Task>, StoreError>> + Send;

    /// Writes `task` if the stored revision is still `task.revision` (else [`StoreError::Conflict`]); the stored one
    /// is one higher. Frees or claims the live key with it; one that another live task has is
    /// [`StoreError::KeyTaken`].
    fn replace(&self, task: &Task) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The live task with this [`Task::live_key`].
    fn live(&self, key: &str) -> impl Future<Output = Result<Option<TaskId>, StoreError>> + Send;

    /// Tasks, newest first, without the expired ones. A joined task is shown by the state of the one it has joined.
    fn list(&self, query: &ListQuery, now: Timestamp) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Up to `limit` tasks for which [`Task::sweep`] under `policy` has something to say at `now`.
    fn to_sweep(
        &self,
        policy: &RetryPolicy,
        limit: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Task>, StoreError>> + Send;

    /// The record of a unit; `None` if it was never written. Losing one costs its count of attempts, nothing else.
    fn unit(&self, key: &UnitKey) -> impl Future<Output = Result<Option<Unit>, StoreError>> + Send;

    /// Writes `unit` if the stored revision is still `unit.revision` (else [`StoreError::Conflict`]), 0 being that of a
    /// unit that was never written; the stored one is one higher.
    fn replace_unit(&self, unit: &Unit) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Up to `limit` units that their tasks wait for ([`Task::units`]) and for which [`Unit::sweep`] under `policy` has
    /// something to say at `now`: as they are stored, or as they are before they were ever begun.
    fn units_to_sweep(
        &self,
        policy: &RetryPolicy,
        limit: usize,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Unit>, StoreError>> + Send;

    /// Takes, or renews, the lease of a target reference until `hold` from `now`. `false` if somebody else holds it.
    fn lease_target(
        &self,
        target: &Reference,
        owner: &str,
        hold: Duration,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Gives the lease of a target back, if `owner` has it.
    fn release_target(&self, target: &Reference, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the store is within reach, and as much as its owner may do: a store that readers share is only read.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// [`TaskStore::update`] was outrun by another writer, for the `times`-th time: returns when it may try again. A
    /// store whose writers are far apart waits here, and gives up in the end.
    fn outrun(&self, _times: u32) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Reads, changes and writes a task until nobody comes between. `change` may run several times. What `change` leaves
    /// as it was is not written.
    fn update<T: Send>(
        &self,
        id: &TaskId,
        now: Timestamp,
        mut change: impl FnMut(&mut Task) -> Result<T, StoreError> + Send,
    ) -> impl Future<Output = Result<(Task, T), StoreError>> + Send {
        async move {
            let mut times = 0;
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
                    Err(StoreError::Conflict) => {
                        times += 1;
                        self.outrun(times).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Reads, changes and writes the unit that `unit` names, as [`TaskStore::update`] does with a task. One that was
    /// never written is as it was created.
    fn update_unit<T: Send>(
        &self,
        unit: &Unit,
        mut change: impl FnMut(&mut Unit) -> Result<T, StoreError> + Send,
    ) -> impl Future<Output = Result<(Unit, T), StoreError>> + Send {
        async move {
            let mut times = 0;
            loop {
                let stored = self.unit(&unit.key).await?;
                let before = stored.unwrap_or_else(|| Unit::new(unit.key.clone(), unit.created));
                let mut unit = before.clone();
                let said = change(&mut unit)?;
                if unit == before {
                    return Ok((unit, said));
                }
                match self.replace_unit(&unit).await {
                    Ok(()) => {
                        unit.revision += 1;
                        return Ok((unit, said));
                    }
                    Err(StoreError::Conflict) => {
                        times += 1;
                        self.outrun(times).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
