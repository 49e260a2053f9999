//! What the sweeper has to look at: the index `due` says where, the table says what.
//!
//! The index lags by a moment and holds only times, so it may name a task that is not due any more, which is read and
//! left alone, and miss one that has just become due, which the next round finds. Nothing is done to a task but under
//! its revision.

use std::collections::{HashMap, VecDeque};

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, Task, TaskId, Unit, UnitKey};
use futures::future::{join_all, try_join_all};

use super::keys::{DUE, Due, Key, task_of, time_key};
use super::requests::{Condition, Item, Query, text};
use super::table::Table;
use super::{documents, units};
use crate::StoreError;

/// Rows of each partition that are read at once.
const ROWS: usize = 100;
/// Tasks whose units are read at once.
const AT_ONCE: usize = 8;

/// Up to `limit` tasks that have to be swept. One that is damaged does not keep the others from it: it is reported once
/// nothing else is left to do.
pub(super) async fn tasks(
    table: &Table,
    policy: &RetryPolicy,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Task>, StoreError> {
    let mut found = Found::new(limit);
    let mut due = Rows::new(table, Due::Tasks, now);
    while let Some(ids) = due.next().await? {
        for item in table.task_items(&ids).await?.values() {
            found.extend(documents::task(item).map(|task| Some(task).filter(|task| task.sweep(policy, now).is_some())));
        }
        if found.is_full() {
            break;
        }
    }
    found.all()
}

/// Up to `limit` units that have to be swept.
pub(super) async fn units(
    table: &Table,
    policy: &RetryPolicy,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Unit>, StoreError> {
    let mut found = Found::new(limit);
    let mut due = Rows::new(table, Due::Units, now);
    while let Some(ids) = due.next().await? {
        for ids in ids.chunks(AT_ONCE) {
            for read in join_all(ids.iter().map(|id| units::with_task(table, id))).await {
                let units = read.map(|read| read.map(|(task, stored)| awaited(&task, stored)).unwrap_or_default());
                found.extend(units.map(|units| units.into_iter().filter(|unit| unit.sweep(policy, now).is_some())));
            }
            if found.is_full() {
                return found.all();
            }
        }
    }
    found.all()
}

/// The units that `task` waits for: as they are `stored`, or as they are before they were ever begun.
fn awaited(task: &Task, stored: Vec<Unit>) -> Vec<Unit> {
    let mut stored: HashMap<UnitKey, Unit> = stored.into_iter().map(|unit| (unit.key.clone(), unit)).collect();
    task.units().into_iter().map(|fresh| stored.remove(&fresh.key).unwrap_or(fresh)).collect()
}

/// What was found, and what could not be read.
struct Found<T> {
    found: Vec<T>,
    limit: usize,
    damage: Result<(), StoreError>,
}

impl<T> Found<T> {
    const fn new(limit: usize) -> Self {
        Self { found: Vec::new(), limit, damage: Ok(()) }
    }

    fn extend(&mut self, more: Result<impl IntoIterator<Item = T>, StoreError>) {
        match more {
            Ok(more) => self.found.extend(more.into_iter().take(self.limit - self.found.len())),
            Err(error) => self.damage = Err(error),
        }
    }

    const fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    fn all(self) -> Result<Vec<T>, StoreError> {
        if self.found.is_empty() { self.damage.map(|()| self.found) } else { Ok(self.found) }
    }
}

/// The rows of the index that are due, a page of each partition at a time.
struct Rows<'t> {
    table: &'t Table,
    now: Timestamp,
    /// The partitions that may have more, and where the page before ended.
    left: VecDeque<(String, Option<Item>)>,
}

impl<'t> Rows<'t> {
    fn new(table: &'t Table, due: Due, now: Timestamp) -> Self {
        Self { table, now, left: due.partitions().map(|partition| (partition, None)).collect() }
    }

    /// More tasks; none once all were named.
    async fn next(&mut self) -> Result<Option<Vec<TaskId>>, StoreError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let pages =
            try_join_all(self.left.drain(..).map(|(partition, start)| page(self.table, partition, start, self.now)));
        let mut ids = Vec::new();
        for (partition, rows, end) in pages.await? {
            ids.extend(rows.iter().filter_map(|row| task_of(&Key::of(row)?.partition)));
            self.left.extend(end.map(|end| (partition, Some(end))));
        }
        Ok(Some(ids))
    }
}

async fn page(
    table: &Table,
    partition: String,
    start: Option<Item>,
    now: Timestamp,
) -> Result<(String, Vec<Item>, Option<Item>), StoreError> {
    let keys = Condition::new("#due_pk = :partition AND #due_sk <= :now")
        .value("partition", text(&partition))
        .value("now", text(time_key(now)));
    let query = Query { index: Some(DUE), keys, newest_first: false, limit: Some(ROWS), start };
    let (rows, end) = table.query(query).await?;
    Ok((partition, rows, end))
}
