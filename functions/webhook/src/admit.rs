//! Durable before acknowledged: a task is written, then its message is sent, then that is noted.
//!
//! Only the first step decides about the answer. A task whose message is missing is found by the sweeper.

use std::time::Duration;

use accel_domain::task::RetryPolicy;
use accel_domain::{Task, TaskId, Timestamp};
use accel_tasks::{Admission, StoreError, TaskQueue, TaskStore};
use futures::{StreamExt, TryStreamExt};

use crate::plan::Planned;

/// Tasks of one body that are written at the same time: stores group such writes into one.
const WRITES_IN_FLIGHT: usize = 32;

/// Admits every task, in order. Returns the ids of those that stand for them, new or joined.
///
/// # Errors
/// The store could not write; some tasks may have been admitted, and the sender's retry finds them.
pub(crate) async fn all<S: TaskStore, Q: TaskQueue>(
    store: &S,
    queue: &Q,
    planned: Vec<Planned>,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<Vec<TaskId>, StoreError> {
    futures::stream::iter(planned.into_iter().map(|planned| one(store, queue, planned, policy, now)))
        .buffered(WRITES_IN_FLIGHT)
        .try_collect()
        .await
}

async fn one<S: TaskStore, Q: TaskQueue>(
    store: &S,
    queue: &Q,
    Planned { task, cancels }: Planned,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<TaskId, StoreError> {
    let admission = store.admit(&task).await?;
    let admitted = admission.task(&task);
    log(&admission, admitted);
    if let (Admission::Created, Some(key)) = (&admission, cancels) {
        cancel_conversion(store, &key, policy, now).await?;
    }
    if let Some(unsent) = admission.unsent(&task) {
        send(store, queue, unsent, now).await;
    }
    Ok(admitted.id.clone())
}

fn log(admission: &Admission, task: &Task) {
    let Task { id, source, target, state, .. } = task;
    let said = match admission {
        Admission::Created => "a task is accepted",
        Admission::Joined(_) => "the event joins a task",
    };
    tracing::info!(task.id = %id, image.source = %source, image.target = %target, task.state = ?state, "{said}");
}

/// A deleted source makes its conversion pointless.
async fn cancel_conversion<S: TaskStore>(
    store: &S,
    key: &str,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(id) = store.live(key).await? else { return Ok(()) };
    match store.update(&id, now, |task| Ok(task.cancel(policy, now)?)).await {
        Ok(_) | Err(StoreError::Refused(_) | StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends the message that `task` waits for. Where that fails the sweeper does it.
pub(crate) async fn send<S: TaskStore, Q: TaskQueue>(store: &S, queue: &Q, task: &Task, now: Timestamp) {
    if let Err(error) = accel_tasks::enqueue(store, queue, task, Duration::ZERO, now).await {
        tracing::warn!(task.id = %task.id, %error, "the message was not sent, or not noted: the sweeper sees to it");
    }
}
