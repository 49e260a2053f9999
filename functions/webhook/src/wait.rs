//! `sync=true`: waits until the tasks of an event have ended, or as long as the front door allows.

use std::time::Duration;

use accel_domain::task::{State, Status};
use accel_domain::{Task, TaskId};
use accel_tasks::{StoreError, TaskStore};
use tokio::time::Instant;

use accel_runtime::Clock;

/// How long a caller may wait. As an extension of a request it holds for that one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncWait {
    /// `None`: until the tasks have ended.
    pub limit: Option<Duration>,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Every task has completed.
    Completed,
    /// Every task has ended; the first that failed gives this reason.
    Failed(String),
    /// Time is up, and this is the first task that has not ended.
    Unfinished(TaskId),
}

/// The first look is almost at once, the later ones are ever further apart.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits for all of `ids`.
pub(crate) async fn until_ended<S: TaskStore>(
    store: &S,
    ids: &[TaskId],
    wait: SyncWait,
    clock: &Clock,
) -> Result<Waited, StoreError> {
    let end = wait.limit.map(|limit| Instant::now() + limit);
    let mut failed = None;
    for id in ids {
        let mut pause = FIRST_LOOK;
        let outcome = loop {
            if let Some(outcome) = outcome(store, id, clock).await? {
                break outcome;
            }
            let left = end.map_or(pause, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(Waited::Unfinished(id.clone()));
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        failed = failed.or(outcome.err());
    }
    Ok(failed.map_or(Waited::Completed, Waited::Failed))
}

/// How a task, or the one that it has joined, has ended: well, or for this reason; `None` if it has not. One that the
/// store has forgotten ended long ago.
async fn outcome<S: TaskStore>(
    store: &S,
    id: &TaskId,
    clock: &Clock,
) -> Result<Option<Result<(), String>>, StoreError> {
    let mut task = store.get(id, clock.now()).await?;
    if let Some(other) = task.as_ref().filter(|task| task.state == State::Joined).and_then(|task| task.joined.clone()) {
        task = store.get(&other, clock.now()).await?;
    }
    let ended = |task: Task| match Status::from(task.state) {
        Status::Processing => None,
        Status::Completed => Some(Ok(())),
        Status::Failed => Some(Err(task.reason)),
    };
    Ok(task.map_or(Some(Ok(())), ended))
}
