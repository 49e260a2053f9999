//! Sending messages, and the sweeper that sends those that were never sent.
//!
//! A task is written before its message is sent, and that it was sent is written after: whatever dies in between
//! leaves a task that the sweeper finds.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, Sweep, Task};

use crate::{Message, StoreError, TaskQueue, TaskStore, enqueue_unit, fail_unit};

/// Sends the message that `task`, as it was read or written last, waits for, and notes that it was sent.
///
/// # Errors
/// The queue or the store could not be reached. The sweeper sends the message if this did not.
pub async fn enqueue(
    store: &impl TaskStore,
    queue: &impl TaskQueue,
    task: &Task,
    delay: Duration,
    now: Timestamp,
) -> Result<(), StoreError> {
    let message = Message::from(task);
    queue.send(&message, delay).await?;
    let noted = store.update(&task.id, now, |task| {
        task.sent(message.generation, message.part, now);
        Ok(())
    });
    match noted.await {
        Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What one round of the sweeper did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages sent, to tasks and to units.
    pub enqueued: usize,
    /// Tasks that were out of attempts and have ended.
    pub failed: usize,
}

/// One round of the sweeper over at most `limit` tasks and as many units; due each minute. One that cannot be swept does
/// not keep the others from it. `ended` hears of each task that is given up as soon as it is, whatever becomes of the
/// round.
///
/// # Errors
/// The first error, after all were tried.
pub async fn sweep(
    store: &impl TaskStore,
    queue: &impl TaskQueue,
    policy: &RetryPolicy,
    limit: usize,
    now: Timestamp,
    mut ended: impl FnMut(&Task),
) -> Result<Swept, StoreError> {
    let (mut enqueued, mut failed, mut outcome) = (0, 0, Ok(()));
    let mut given_up = |task: Option<Task>| {
        failed += usize::from(task.is_some());
        task.iter().for_each(&mut ended);
    };
    for task in store.to_sweep(policy, limit, now).await? {
        let done = match task.sweep(policy, now) {
            Some(Sweep::Enqueue) => enqueue(store, queue, &task, Duration::ZERO, now).await.map(|()| enqueued += 1),
            Some(Sweep::Fail) => abandon(store, &task, policy, now).await.map(&mut given_up),
            None => Ok(()),
        };
        outcome = outcome.and(done);
    }
    for unit in store.units_to_sweep(policy, limit, now).await? {
        let done = match unit.sweep(policy, now) {
            Some(Sweep::Enqueue) => {
                enqueue_unit(store, queue, &unit, Duration::ZERO, now).await.map(|()| enqueued += 1)
            }
            Some(Sweep::Fail) => fail_unit(store, &unit.key, &unit.reason, policy, now).await.map(&mut given_up),
            None => Ok(()),
        };
        outcome = outcome.and(done);
    }
    outcome.map(|()| Swept { enqueued, failed })
}

/// Gives `task` up unless somebody has taken care of it since it was read: as it has ended then.
async fn abandon(
    store: &impl TaskStore,
    task: &Task,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<Option<Task>, StoreError> {
    let given_up = store.update(&task.id, now, |task| Ok(task.abandon(policy, now)?)).await;
    match given_up {
        Ok((task, ())) => Ok(Some(task)),
        Err(StoreError::Refused(_) | StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
