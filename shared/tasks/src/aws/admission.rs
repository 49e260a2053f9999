//! Admitting a task: the task and its claims, to its live key and to its delivery, in one transaction.

use std::collections::BTreeSet;

use accel_domain::task::{Task, TaskId};

use super::claims::{self, claimant};
use super::documents::{self, WRITER, string};
use super::keys::Key;
use super::requests::{Change, Written};
use super::table::{Table, is_expired};
use super::{ROUNDS, contended, pause};
use crate::{Admission, StoreError};

/// Claims of tasks that are gone: they may be taken over.
#[derive(Debug, Default)]
struct Stale {
    live: Option<TaskId>,
    delivery: Option<TaskId>,
}

/// What stands in the way of a task.
enum Standing {
    /// Itself: it was written, and only the answer was lost.
    Itself,
    /// The task that stands for its event.
    Other(Box<Task>),
    /// A task of the same name.
    Namesake,
    /// Nothing, or what has changed while it was looked at.
    Nothing(Stale),
}

/// Most tasks are new: the transaction comes first. Where it is cancelled, what is stored says why; the answer itself
/// does not on every server.
pub(super) async fn admit(table: &Table, task: &Task) -> Result<Admission, StoreError> {
    let writer = documents::writer();
    let mut stale = Stale::default();
    for round in 0..ROUNDS {
        if table.transact(changes(task, &writer, &stale)).await? == Written::Yes {
            return Ok(Admission::Created);
        }
        stale = match standing(table, task, &writer).await? {
            Standing::Itself => return Ok(Admission::Created),
            Standing::Other(other) => return Ok(Admission::Joined(other)),
            Standing::Namesake => return Err(StoreError::Conflict),
            Standing::Nothing(stale) => stale,
        };
        pause(round).await;
    }
    Err(contended("admitting a task"))
}

fn changes(task: &Task, writer: &str, stale: &Stale) -> Vec<Change> {
    let free = |gone: Option<&TaskId>| claims::or_of(claims::free_at(task.created), gone);
    let own = [
        Change::Put(documents::task_item(task, writer), claims::free()),
        claims::live(task, free(stale.live.as_ref())),
    ];
    own.into_iter().chain(claims::delivery(task, free(stale.delivery.as_ref()))).collect()
}

async fn standing(table: &Table, task: &Task, writer: &str) -> Result<Standing, StoreError> {
    let (live, delivery) = (Key::live(&task.live_key()), task.delivery_key().map(|key| Key::delivery(&key)));
    let keys: BTreeSet<Key> = [live.clone()].into_iter().chain(delivery.clone()).collect();
    let claims = table.read_all(keys).await?;
    let claimed_by = |key: &Key| claims.get(key).map(claimant).transpose();
    let (live, delivery) = (claimed_by(&live)?, delivery.map(|key| claimed_by(&key)).transpose()?.flatten());

    let found = table.task_items([&task.id].into_iter().chain(&live).chain(&delivery)).await?;
    let namesake = found.get(&task.id).map(|item| string(item, WRITER)).transpose()?;
    if namesake == Some(writer) {
        return Ok(Standing::Itself);
    }
    let stored = |id: &TaskId| found.get(id).map(documents::task).transpose();
    let mut stale = Stale::default();
    if let Some(id) = delivery {
        match stored(&id)? {
            Some(other) if !is_expired(&other, task.created) => return Ok(Standing::Other(Box::new(other))),
            Some(_) | None => stale.delivery = Some(id),
        }
    }
    if let Some(id) = live {
        match stored(&id)? {
            Some(other) if other.state.is_live() => return Ok(Standing::Other(Box::new(other))),
            // It has ended since its claim was read, which went with that.
            Some(_) => {}
            None => stale.live = Some(id),
        }
    }
    Ok(if namesake.is_some() { Standing::Namesake } else { Standing::Nothing(stale) })
}
