//! Claims of tasks: to their live key while they live, and to their delivery until they are forgotten.
//!
//! A claim is an item of its own, since DynamoDB knows no other unique keys. It carries the id of its task, and holds as
//! long as that task does; the task decides, never the claim.

use accel_domain::Timestamp;
use accel_domain::task::{Task, TaskId};

use super::documents::{damaged, string};
use super::keys::{self, EXPIRES, Key};
use super::requests::{Change, Condition, Item, number, text};
use crate::StoreError;

/// The task that has made the claim.
const ID: &str = "id";
/// What is claimed, in words.
const NAME: &str = "name";

/// The claim of `task` to its live key, where `free` holds.
pub(super) fn live(task: &Task, free: Condition) -> Change {
    let name = task.live_key();
    claim(&Key::live(&name), &name, &task.id, None, free)
}

/// The claim of `task` to its delivery, if that has a name, where `free` holds. It is forgotten with the task.
pub(super) fn delivery(task: &Task, free: Condition) -> Option<Change> {
    let name = task.delivery_key()?;
    Some(claim(&Key::delivery(&name), &name, &task.id, task.expires, free))
}

fn claim(key: &Key, name: &str, id: &TaskId, expires: Option<Timestamp>, free: Condition) -> Change {
    let mut item = key.item();
    item.insert(NAME.to_owned(), text(name));
    item.insert(ID.to_owned(), text(id.to_string()));
    if let Some(expires) = expires {
        item.insert(EXPIRES.to_owned(), number(keys::second_after(expires)));
    }
    Change::Put(item, free)
}

/// Nobody claims it.
pub(super) fn free() -> Condition {
    Condition::new("attribute_not_exists(#pk)")
}

/// Nobody claims it at `now`: what DynamoDB has still to forget does not count.
pub(super) fn free_at(now: Timestamp) -> Condition {
    free().or(Condition::new("#expires < :now").value("now", number(now.as_second())))
}

/// Nobody claims it, or `own` does.
pub(super) fn free_for(own: &TaskId) -> Condition {
    free().or(Condition::new("#id = :own").value("own", text(own.to_string())))
}

/// `condition`, or it is claimed by the task `gone`, which is not there any more.
pub(super) fn or_of(condition: Condition, gone: Option<&TaskId>) -> Condition {
    let Some(gone) = gone else { return condition };
    condition.or(Condition::new("#id = :gone").value("gone", text(gone.to_string())))
}

/// The task that has made the claim `item`.
pub(super) fn claimant(item: &Item) -> Result<TaskId, StoreError> {
    let id: Result<TaskId, _> = string(item, ID)?.parse();
    id.map_err(|error| damaged(item, &error.to_string()))
}
