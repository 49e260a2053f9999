//! Replacing a task under its revision. Where its claims stay as they are, that is one write; where it ends, is
//! retried or gets another key, the claims change in the same transaction.

use accel_domain::task::{Task, TaskId};

use super::claims::{self, claimant};
use super::documents::{self, LIVE, REVISION, WRITER, integer, live_hash, string};
use super::keys::{EXPIRES, Key};
use super::requests::{Change, Condition, Item, Written, number, text};
use super::table::Table;
use super::{ROUNDS, contended, pause};
use crate::StoreError;

/// A task as it is to be written, and by whom.
struct Next<'t> {
    task: &'t Task,
    item: Item,
    writer: String,
    /// Its live key, hashed, if it lives.
    live: Option<String>,
    /// The stored revision that it replaces.
    revision: Condition,
}

/// What is known of claims that are in the way.
#[derive(Default)]
struct Known {
    /// The live key is claimed by this task, which is gone.
    stale: Option<TaskId>,
    /// The key that it had is claimed by another by now: it is not freed.
    old_is_lost: bool,
    /// The delivery is another's by now: it is left to that one.
    delivery_is_lost: bool,
}

pub(super) async fn replace(table: &Table, task: &Task) -> Result<(), StoreError> {
    let writer = documents::writer();
    let next = Next {
        task,
        item: documents::task_item(&Task { revision: task.revision + 1, ..task.clone() }, &writer),
        writer,
        live: live_hash(task),
        revision: Condition::new("#revision = :revision").value("revision", number(task.revision)),
    };
    // A task that lives on under the same key is the usual case: nothing has to be read for it.
    if let Some(live) = &next.live {
        let same_key = Condition::new("#live = :live").value("live", text(live));
        let in_place = Change::Put(next.item.clone(), next.revision.clone().and(same_key));
        if table.write(in_place).await? == Written::Yes {
            return Ok(());
        }
    }
    let mut known = Known::default();
    for round in 0..ROUNDS {
        let before = table.read(&Key::task(&task.id)).await?.ok_or_else(|| StoreError::NotFound(task.id.clone()))?;
        if string(&before, WRITER)? == next.writer {
            return Ok(()); // It was written, and only the answer was lost.
        }
        if integer::<u64>(&before, REVISION)? != task.revision {
            return Err(StoreError::Conflict);
        }
        let mut changes = next.changes(&before, &known)?;
        let written = match changes.len() {
            1 => table.write(changes.remove(0)).await?,
            _ => table.transact(changes).await?,
        };
        if written == Written::Yes {
            return Ok(());
        }
        known = next.look(table, &before).await?;
        pause(round).await;
    }
    Err(contended("replacing a task"))
}

impl Next<'_> {
    /// The task, and what becomes of its claims.
    fn changes(&self, before: &Item, known: &Known) -> Result<Vec<Change>, StoreError> {
        let mut changes = vec![Change::Put(self.item.clone(), self.revision.clone())];
        let id = &self.task.id;
        let old = before.get(LIVE).map(|_| string(before, LIVE)).transpose()?;
        if old != self.live.as_deref() {
            if let Some(old) = old.filter(|_| !known.old_is_lost) {
                changes.push(Change::Delete(Key::live_hash(old), claims::free_for(id)));
            }
            if self.live.is_some() {
                changes.push(claims::live(self.task, claims::or_of(claims::free_for(id), known.stale.as_ref())));
            }
        }
        if before.get(EXPIRES) != self.item.get(EXPIRES) && !known.delivery_is_lost {
            changes.extend(claims::delivery(self.task, claims::free_for(id)));
        }
        Ok(changes)
    }

    /// Who is in the way.
    async fn look(&self, table: &Table, before: &Item) -> Result<Known, StoreError> {
        let new = Key::live(&self.task.live_key());
        let old = before.get(LIVE).map(|_| string(before, LIVE)).transpose()?.map(Key::live_hash);
        let delivery = self.task.delivery_key().map(|key| Key::delivery(&key));
        let keys = [Some(&new), old.as_ref(), delivery.as_ref()].into_iter().flatten().cloned().collect();
        let claims = table.read_all(keys).await?;
        let other = |key: &Key| -> Result<Option<TaskId>, StoreError> {
            Ok(claims.get(key).map(claimant).transpose()?.filter(|id| *id != self.task.id))
        };
        let mut known = Known {
            stale: None,
            old_is_lost: old.as_ref().map(other).transpose()?.flatten().is_some(),
            delivery_is_lost: delivery.as_ref().map(other).transpose()?.flatten().is_some(),
        };
        if let Some(id) = self.live.as_ref().map(|_| other(&new)).transpose()?.flatten() {
            match table.read(&Key::task(&id)).await?.as_ref().map(documents::task).transpose()? {
                Some(other) if other.state.is_live() => return Err(StoreError::KeyTaken(id)),
                // It has ended since its claim was read, which went with that.
                Some(_) => {}
                None => known.stale = Some(id),
            }
        }
        Ok(known)
    }
}
