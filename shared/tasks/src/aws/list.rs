//! The list of tasks, newest first: the partitions of the index `listed` are read side by side and merged; the tasks
//! themselves come from the table.
//!
//! A page ends at a place, by creation and id, so that neither new tasks nor forgotten ones move the next one.

use std::collections::{HashMap, VecDeque};

use accel_domain::Timestamp;
use accel_domain::task::{State, Task, TaskId};
use futures::future::try_join_all;

use super::documents;
use super::keys::{LISTED, Place, SHARDS, listed_partitions};
use super::requests::{Condition, Item, Query, text};
use super::table::{Table, is_expired};
use crate::{ListQuery, Page, StoreError};

/// A page looks at so many tasks at most. Where a filter covers less than a page of them, it ends early and the next
/// one goes on.
const LOOKED_AT: usize = 2000;
/// Tasks that are read at once.
const AT_ONCE: usize = 400;
/// Above every place.
const ABOVE: &str = "~";

pub(super) async fn list(table: &Table, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
    let cursor = query.cursor.as_deref().map(Place::parse).transpose()?;
    let wanted = (query.rows() + 1).min(AT_ONCE);
    let mut places = Places::new(table, cursor.as_ref(), wanted);
    let mut page = Page::default();
    let mut looked_at = 0;
    loop {
        let next = places.next().await?;
        let Some(last) = next.last() else { return Ok(page) };
        let found = Found::read(table, &next).await?;
        for place in &next {
            let Some(task) = found.covered(&place.id, query, now)? else { continue };
            if page.tasks.len() == query.rows() {
                page.next = page.tasks.last().map(|task| Place::of(task).text());
                return Ok(page);
            }
            page.tasks.push(task);
        }
        looked_at += next.len();
        if looked_at >= LOOKED_AT {
            page.next = Some(last.text());
            return Ok(page);
        }
    }
}

/// Tasks, and those that they have joined.
struct Found(HashMap<TaskId, Item>);

impl Found {
    async fn read(table: &Table, places: &[Place]) -> Result<Self, StoreError> {
        let mut items = table.task_items(places.iter().map(|place| &place.id)).await?;
        let joined: Vec<TaskId> = items.values().filter_map(|item| documents::task(item).ok()?.joined).collect();
        let joined: Vec<&TaskId> = joined.iter().filter(|id| !items.contains_key(id)).collect();
        if !joined.is_empty() {
            items.extend(table.task_items(joined).await?);
        }
        Ok(Self(items))
    }

    fn task(&self, id: &TaskId) -> Result<Option<Task>, StoreError> {
        self.0.get(id).map(documents::task).transpose()
    }

    /// The task `id`, if it is still there and the list shows it.
    fn covered(&self, id: &TaskId, query: &ListQuery, now: Timestamp) -> Result<Option<Task>, StoreError> {
        let Some(task) = self.task(id)?.filter(|task| !is_expired(task, now)) else { return Ok(None) };
        let joined = match &task.joined {
            Some(other) if task.state == State::Joined => self.task(other)?,
            Some(_) | None => None,
        };
        let covered = query.covers(&task, joined.as_ref().unwrap_or(&task));
        Ok(Some(task).filter(|_| covered))
    }
}

/// The places of all tasks, newest first.
struct Places<'t> {
    table: &'t Table,
    shards: Vec<Shard>,
    /// How many are wanted at once.
    wanted: usize,
}

/// What was read of a partition and not yet taken.
struct Shard {
    partition: String,
    /// Where it goes on.
    below: String,
    rows: VecDeque<Place>,
    has_more: bool,
}

impl<'t> Places<'t> {
    fn new(table: &'t Table, below: Option<&Place>, wanted: usize) -> Self {
        let below = below.map_or_else(|| ABOVE.to_owned(), Place::text);
        let shard = |partition| Shard { partition, below: below.clone(), rows: VecDeque::new(), has_more: true };
        Self { table, shards: listed_partitions().map(shard).collect(), wanted }
    }

    /// Some more; none once there are no more.
    async fn next(&mut self) -> Result<Vec<Place>, StoreError> {
        // A fair share of a page for each partition, and a little more, since no share is quite fair.
        let share = self.wanted / usize::from(SHARDS) + 8;
        while self.shards.iter().any(Shard::is_dry) {
            let dry = self.shards.iter_mut().filter(|shard| shard.is_dry());
            try_join_all(dry.map(|shard| shard.fill(self.table, share))).await?;
        }
        let mut next = Vec::new();
        // What a dry partition has next may come before all others.
        while next.len() < self.wanted && !self.shards.iter().any(Shard::is_dry) {
            let newest = self.shards.iter_mut().max_by(|a, b| a.rows.front().cmp(&b.rows.front()));
            let Some(place) = newest.and_then(|shard| shard.rows.pop_front()) else { break };
            next.push(place);
        }
        Ok(next)
    }
}

impl Shard {
    fn is_dry(&self) -> bool {
        self.rows.is_empty() && self.has_more
    }

    async fn fill(&mut self, table: &Table, limit: usize) -> Result<(), StoreError> {
        let keys = Condition::new("#listed_pk = :partition AND #listed_sk < :below")
            .value("partition", text(&self.partition))
            .value("below", text(&self.below));
        let query = Query { index: Some(LISTED), keys, newest_first: true, limit: Some(limit), start: None };
        let (rows, end) = table.query(query).await?;
        for row in &rows {
            let place = documents::string(row, "listed_sk")?;
            place.clone_into(&mut self.below);
            self.rows.extend(Place::parse(place).ok());
        }
        self.has_more = end.is_some() && !rows.is_empty();
        Ok(())
    }
}
