//! What dead processes held: in a store that one process has to itself, nobody waits until their leases end.

use accel_domain::Timestamp;
use accel_domain::task::{Status, Task, Unit, Work};
use accel_tasks::{ListQuery, StoreError, TaskStore};

use crate::heartbeat::holder;

/// Ends the leases of all tasks in `store`, of their units, and of the targets whose tags they were about to move;
/// returns how many tasks that were. They run again when their messages are received, and whether that uses an attempt is decided
/// as for any lease that has ended. Right only where nobody runs any of them: in the store of one process, before it
/// begins its work.
///
/// # Errors
/// The store failed.
pub async fn release_leases(store: &impl TaskStore, now: Timestamp) -> Result<usize, StoreError> {
    let mut query = ListQuery { status: Some(Status::Processing), ..ListQuery::default() };
    let mut released = 0;
    loop {
        let page = store.list(&query, now).await?;
        for task in &page.tasks {
            released += usize::from(release(store, task, now).await?);
        }
        if page.next.is_none() {
            return Ok(released);
        }
        query.cursor = page.next;
    }
}

async fn release(store: &impl TaskStore, task: &Task, now: Timestamp) -> Result<bool, StoreError> {
    let mut released = false;
    for unit in task.units() {
        let end = |unit: &mut Unit| Ok(over(&mut unit.work, now));
        released |= store.update_unit(&unit, end).await?.1;
    }
    let Some(lease) = task.work.lease.as_ref().filter(|lease| lease.holds(now)) else { return Ok(released) };
    store.release_target(&task.target, &holder(&lease.owner, &task.id)).await?;
    store.update(&task.id, now, |task| Ok(over(&mut task.work, now))).await?;
    Ok(true)
}

/// Ends the lease, if it holds; whether it did.
fn over(work: &mut Work, now: Timestamp) -> bool {
    match &mut work.lease {
        Some(lease) if lease.holds(now) => {
            lease.until = now;
            true
        }
        Some(_) | None => false,
    }
}
