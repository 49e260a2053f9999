//! The life of a unit, from message to message. A unit is finished, failed or void by what its task says; its own
//! record only says who runs it and how often it was tried. So each step is one write, and whatever dies between two
//! of them leaves a unit or a task that the sweeper finds.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{Renewal, RetryPolicy, Start, Task, Unit, UnitKey};

use crate::{Message, StoreError, TaskQueue, TaskStore};

/// A message of a unit was received, and its task waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStart {
    /// The task.
    pub task: Task,
    /// The unit.
    pub unit: Unit,
    /// What the message may do; never [`Start::Void`].
    pub start: Start,
}

/// `owner` has received a message of the unit `key`: takes the unit's lease, never the task's. `None` if the message is
/// void: the task has ended, was retried, or has the unit finished. After [`Start::OutOfAttempts`] the task has failed.
///
/// # Errors
/// Those of the store.
pub async fn start_unit(
    store: &impl TaskStore,
    key: &UnitKey,
    owner: &str,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<Option<UnitStart>, StoreError> {
    let Some(task) = store.get(&key.task, now).await? else { return Ok(None) };
    let Some(fresh) = task.unit(key.generation, key.layer) else { return Ok(None) };
    let (unit, start) = store.update_unit(&fresh, |unit| Ok(unit.start(owner, policy, now))).await?;
    if start != Start::OutOfAttempts {
        return Ok(Some(UnitStart { task, unit, start }));
    }
    let failed = fail_unit(store, key, &unit.reason, policy, now).await?;
    Ok(failed.map(|task| UnitStart { task, unit, start }))
}

/// Renews the lease of a unit, and tells what its task has to say.
///
/// # Errors
/// The lease is somebody else's; the task does not wait for the unit any more; those of the store.
pub async fn renew_unit(
    store: &impl TaskStore,
    unit: &Unit,
    owner: &str,
    now: Timestamp,
) -> Result<Renewal, StoreError> {
    store.update_unit(unit, |unit| Ok(unit.renew(owner, now)?)).await?;
    let UnitKey { task, generation, layer } = &unit.key;
    let task = store.get(task, now).await?.ok_or_else(|| StoreError::NotFound(task.clone()))?;
    Ok(task.unit_renewal(*generation, *layer)?)
}

/// Fails the task of the unit `key` with `reason`. `None` if it does not wait for the unit any more.
///
/// # Errors
/// Those of the store.
pub async fn fail_unit(
    store: &impl TaskStore,
    key: &UnitKey,
    reason: &str,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<Option<Task>, StoreError> {
    let fail = |task: &mut Task| Ok(task.fail_unit(key.generation, key.layer, reason, policy, now)?);
    match store.update(&key.task, now, fail).await {
        Ok((task, ())) => Ok(Some(task)),
        Err(StoreError::Refused(_) | StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends the message that `unit`, as it was read or written last, waits for, and notes that it was sent.
///
/// # Errors
/// The queue or the store could not be reached. The sweeper sends the message if this did not.
pub async fn enqueue_unit(
    store: &impl TaskStore,
    queue: &impl TaskQueue,
    unit: &Unit,
    delay: Duration,
    now: Timestamp,
) -> Result<(), StoreError> {
    let message = Message::from(unit);
    queue.send(&message, delay).await?;
    let note = |unit: &mut Unit| {
        unit.sent(message.part, now);
        Ok(())
    };
    store.update_unit(unit, note).await.map(drop)
}
