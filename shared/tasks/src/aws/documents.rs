//! Tasks and units as items. A record is one JSON text; beside it lie the attributes that conditions, indexes
//! and DynamoDB's TTL look at.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, Task, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{self, Key, Place};
use super::requests::{Item, number, text};
use crate::StoreError;

/// The record of a task.
const TASK: &str = "task";
/// The record of a unit.
const UNIT: &str = "unit";
/// The revision of either.
pub(super) const REVISION: &str = "revision";
/// Who wrote this revision: a text that no other write has, so that a writer whose answer was lost knows its own.
pub(super) const WRITER: &str = "writer";
/// The hash of the live key that a task has claimed, while it is live.
pub(super) const LIVE: &str = "live";
/// Units are forgotten so long after their task has fanned out. Losing one costs its count of attempts, nothing else.
const UNIT_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A text that no other write has.
pub(super) fn writer() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// `task` as an item. When it is due is told under the default policy: of a policy only the queue's retention
/// matters to a task whose transitions another one has made, and that is the same in all.
pub(super) fn task_item(task: &Task, writer: &str) -> Item {
    let mut item = Key::task(&task.id).item();
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set(TASK, text(json(task)));
    set(REVISION, number(task.revision));
    set(WRITER, text(writer));
    set("listed_pk", text(keys::listed_partition(&task.id)));
    set("listed_sk", text(Place::of(task).text()));
    if let Some(expires) = task.expires {
        set(keys::EXPIRES, number(keys::second_after(expires)));
    }
    if let Some(live) = live_hash(task) {
        set(LIVE, text(live));
    }
    if let Some(due) = task.sweep_due(&RetryPolicy::default()) {
        set("due_pk", text(keys::due_partition(task)));
        set("due_sk", text(keys::time_key(due)));
    }
    item
}

/// The hash of the live key that `task` has to have claimed.
pub(super) fn live_hash(task: &Task) -> Option<String> {
    task.state.is_live().then(|| keys::hash(&task.live_key()))
}

pub(super) fn unit_item(unit: &Unit, writer: &str) -> Item {
    let mut item = Key::unit(&unit.key).item();
    let expires = unit.created.checked_add(UNIT_KEPT).unwrap_or(Timestamp::MAX);
    item.insert(UNIT.to_owned(), text(json(unit)));
    item.insert(REVISION.to_owned(), number(unit.revision));
    item.insert(WRITER.to_owned(), text(writer));
    item.insert(keys::EXPIRES.to_owned(), number(keys::second_after(expires)));
    item
}

pub(super) fn task(item: &Item) -> Result<Task, StoreError> {
    parse(item, TASK)
}

pub(super) fn unit(item: &Item) -> Result<Unit, StoreError> {
    parse(item, UNIT)
}

/// The record that lies in the attribute `name` as JSON.
pub(super) fn parse<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T, StoreError> {
    serde_json::from_str(string(item, name)?).map_err(|error| damaged(item, &error.to_string()))
}

/// The text `name` of `item`.
pub(super) fn string<'i>(item: &'i Item, name: &str) -> Result<&'i str, StoreError> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| damaged(item, &format!("it has no text `{name}`")))
}

/// The number `name` of `item`.
pub(super) fn integer<N: std::str::FromStr>(item: &Item, name: &str) -> Result<N, StoreError> {
    let value = item.get(name).and_then(|value| value.as_n().ok()).and_then(|number| number.parse().ok());
    value.ok_or_else(|| damaged(item, &format!("it has no number `{name}`")))
}

/// `record` as JSON.
pub(super) fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records have only text keys")
}

pub(super) fn damaged(item: &Item, detail: &str) -> StoreError {
    let what = match Key::of(item) {
        Some(key) => format!("the item {} / {}", key.partition, key.sort),
        None => "an item without a key".to_owned(),
    };
    StoreError::Damaged { what, detail: format!("{detail}; delete it, or write it as this version does") }
}
