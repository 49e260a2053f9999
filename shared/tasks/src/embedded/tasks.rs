//! The store of tasks.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, State, Task, TaskId, Unit, UnitKey};
use accel_image::Reference;
use redb::ReadableTable;

use super::clock::later;
use super::file::Fault;
use super::record::{TargetLease, unit_key};
use super::tables::{self, Tables, View, load, load_id, load_indexed};
use super::{Embedded, units};
use crate::{Admission, ListQuery, Page, StoreError, TaskStore};

impl TaskStore for Embedded {
    async fn admit(&self, task: &Task) -> Result<Admission, StoreError> {
        let task = task.clone();
        self.write(move |tables| admit(tables, &task)).await
    }

    async fn get(&self, id: &TaskId, now: Timestamp) -> Result<Option<Task>, StoreError> {
        let id = id.to_string();
        let found = self.read(move |view| load::<Task>(&view.table(tables::TASKS)?, &id)).await?;
        Ok(found.filter(|task| !is_expired(task, now)))
    }

    async fn replace(&self, task: &Task) -> Result<(), StoreError> {
        let task = task.clone();
        self.write(move |tables| replace(tables, &task)).await
    }

    async fn live(&self, key: &str) -> Result<Option<TaskId>, StoreError> {
        let key = key.to_owned();
        self.read(move |view| load_id(&view.table(tables::LIVE)?, &key)).await
    }

    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        let query = query.clone();
        self.read(move |view| list(view, &query, now)).await
    }

    async fn to_sweep(&self, policy: &RetryPolicy, limit: usize, now: Timestamp) -> Result<Vec<Task>, StoreError> {
        let policy = policy.clone();
        self.read(move |view| to_sweep(view, &policy, limit, now)).await
    }

    async fn unit(&self, key: &UnitKey) -> Result<Option<Unit>, StoreError> {
        let key = unit_key(key);
        self.read(move |view| load(&view.table(tables::UNITS)?, &key)).await
    }

    async fn replace_unit(&self, unit: &Unit) -> Result<(), StoreError> {
        let unit = unit.clone();
        self.write(move |tables| units::replace(tables, &unit)).await
    }

    async fn units_to_sweep(
        &self,
        policy: &RetryPolicy,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Unit>, StoreError> {
        let policy = policy.clone();
        self.read(move |view| units::to_sweep(view, &policy, limit, now)).await
    }

    async fn lease_target(
        &self,
        target: &Reference,
        owner: &str,
        hold: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let wanted = TargetLease { target: target.clone(), owner: owner.to_owned(), until: later(now, hold) };
        self.write(move |tables| lease_target(tables, wanted, now)).await
    }

    async fn release_target(&self, target: &Reference, owner: &str) -> Result<(), StoreError> {
        let (key, owner) = (target.to_string(), owner.to_owned());
        self.write(move |tables| match load::<TargetLease>(&tables.targets, &key)? {
            Some(lease) if lease.owner == owner => tables.remove_target(&key),
            Some(_) | None => Ok(()),
        })
        .await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.write(|tables| tables.touch()).await
    }
}

fn is_expired(task: &Task, now: Timestamp) -> bool {
    task.expires.is_some_and(|expires| expires <= now)
}

fn admit(tables: &mut Tables<'_>, task: &Task) -> Result<Admission, Fault> {
    if let Some(other) = standing_for(tables, task)? {
        return Ok(Admission::Joined(Box::new(other)));
    }
    if tables.tasks.get(task.id.to_string().as_str())?.is_some() {
        return Err(StoreError::Conflict.into());
    }
    tables.put_task(None, task)?;
    Ok(Admission::Created)
}

/// The task of the same delivery, or the live one of the same key.
fn standing_for(tables: &Tables<'_>, task: &Task) -> Result<Option<Task>, Fault> {
    let delivered = task.delivery_key().map(|key| load_id(&tables.deliveries, &key)).transpose()?.flatten();
    if let Some(id) = delivered {
        let other = load_indexed(&tables.tasks, &id.to_string())?;
        if !is_expired(&other, task.created) {
            return Ok(Some(other));
        }
    }
    let live = load_id(&tables.live, &task.live_key())?;
    live.map(|id| load_indexed(&tables.tasks, &id.to_string())).transpose()
}

fn replace(tables: &mut Tables<'_>, task: &Task) -> Result<(), Fault> {
    let before: Task =
        load(&tables.tasks, &task.id.to_string())?.ok_or_else(|| StoreError::NotFound(task.id.clone()))?;
    if before.revision != task.revision {
        return Err(StoreError::Conflict.into());
    }
    if task.state.is_live()
        && let Some(other) = load_id(&tables.live, &task.live_key())?.filter(|other| *other != task.id)
    {
        return Err(StoreError::KeyTaken(other).into());
    }
    tables.put_task(Some(&before), &Task { revision: task.revision + 1, ..task.clone() })
}

fn list(view: &View, query: &ListQuery, now: Timestamp) -> Result<Page, Fault> {
    let (created, tasks) = (view.table(tables::CREATED)?, view.table(tables::TASKS)?);
    let cursor = query.cursor.as_deref().map(parse_cursor).transpose()?;
    let (time, id) = cursor.unwrap_or((i128::MIN, String::new()));
    let mut page = Page::default();
    for entry in created.range((time, id.as_str())..)? {
        let (key, _) = entry?;
        let at = key.value();
        if at == (time, id.as_str()) {
            continue;
        }
        let task = load_indexed(&tasks, at.1)?;
        let joined = match &task.joined {
            Some(other) if task.state == State::Joined => load(&tasks, &other.to_string())?,
            Some(_) | None => None,
        };
        if is_expired(&task, now) || !query.covers(&task, joined.as_ref().unwrap_or(&task)) {
            continue;
        }
        if page.tasks.len() == query.rows() {
            page.next = page.tasks.last().map(cursor_of);
            break;
        }
        page.tasks.push(task);
    }
    Ok(page)
}

/// Where a page ends: by creation and id, so that neither new tasks nor forgotten ones move it.
fn cursor_of(task: &Task) -> String {
    format!("{}.{}", task.created.as_nanosecond(), task.id)
}

fn parse_cursor(text: &str) -> Result<(i128, String), Fault> {
    let parse = |text: &str| {
        let (time, id) = text.split_once('.')?;
        let created: Timestamp = Timestamp::from_nanosecond(time.parse().ok()?).ok()?;
        Some((-created.as_nanosecond(), id.parse::<TaskId>().ok()?.to_string()))
    };
    parse(text).ok_or_else(|| StoreError::BadCursor.into())
}

/// A damaged task does not keep the others from being swept: it is reported once nothing else is left to do.
fn to_sweep(view: &View, policy: &RetryPolicy, limit: usize, now: Timestamp) -> Result<Vec<Task>, Fault> {
    let (live, tasks) = (view.table(tables::LIVE)?, view.table(tables::TASKS)?);
    let mut found = Vec::new();
    let mut damage = Ok(());
    for entry in live.iter()? {
        if found.len() == limit {
            break;
        }
        match load_indexed(&tasks, entry?.1.value()) {
            Ok(task) if task.sweep(policy, now).is_some() => found.push(task),
            Ok(_) => {}
            Err(fault) => damage = Err(fault),
        }
    }
    if found.is_empty() { damage.map(|()| found) } else { Ok(found) }
}

fn lease_target(tables: &mut Tables<'_>, wanted: TargetLease, now: Timestamp) -> Result<bool, Fault> {
    let held = load::<TargetLease>(&tables.targets, &wanted.target.to_string())?;
    match held.filter(|held| held.owner != wanted.owner && held.until > now) {
        None => tables.put_target(&wanted).map(|()| true),
        // It ends later than one taken now would: the clock was set back, and its owner may be dead.
        Some(held) if held.until > wanted.until => {
            tables.put_target(&TargetLease { until: wanted.until, ..held }).map(|()| false)
        }
        Some(_) => Ok(false),
    }
}
