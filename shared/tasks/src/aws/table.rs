//! The table as a store of tasks.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, Task, TaskId, Unit, UnitKey};
use accel_image::Reference;
use aws_sdk_dynamodb::Client;

use super::keys::{Key, task_of};
use super::requests::Item;
use super::{ROUNDS, admission, claims, contended, documents, list, pause, replace, sweep, targets, units};
use crate::{Admission, ListQuery, Page, StoreError, TaskStore};

/// A DynamoDB table with tasks, layer records and counters. Clones share the client.
#[derive(Clone)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: Arc<str>,
}

impl Table {
    /// The table called `name`. Nothing is asked of it yet.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into().into() }
    }

    /// The items of those of these tasks that there are, expired or not, as they are now.
    pub(super) async fn task_items(
        &self,
        ids: impl IntoIterator<Item = &TaskId>,
    ) -> Result<HashMap<TaskId, Item>, StoreError> {
        let items = self.read_all(ids.into_iter().map(Key::task).collect()).await?;
        Ok(items.into_iter().filter_map(|(key, item)| Some((task_of(&key.partition)?, item))).collect())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.name).finish()
    }
}

pub(super) fn is_expired(task: &Task, now: Timestamp) -> bool {
    task.expires.is_some_and(|expires| expires <= now)
}

impl TaskStore for Table {
    async fn admit(&self, task: &Task) -> Result<Admission, StoreError> {
        admission::admit(self, task).await
    }

    async fn get(&self, id: &TaskId, now: Timestamp) -> Result<Option<Task>, StoreError> {
        let found = self.read(&Key::task(id)).await?.as_ref().map(documents::task).transpose()?;
        Ok(found.filter(|task| !is_expired(task, now)))
    }

    async fn replace(&self, task: &Task) -> Result<(), StoreError> {
        replace::replace(self, task).await
    }

    async fn live(&self, key: &str) -> Result<Option<TaskId>, StoreError> {
        self.read(&Key::live(key)).await?.as_ref().map(claims::claimant).transpose()
    }

    /// Newest first. The index may lag by a moment: a task that was just written may not be in it yet. A filter that
    /// covers little ends a page early, with fewer rows than asked for and the cursor of the next.
    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        list::list(self, query, now).await
    }

    async fn to_sweep(&self, policy: &RetryPolicy, limit: usize, now: Timestamp) -> Result<Vec<Task>, StoreError> {
        sweep::tasks(self, policy, limit, now).await
    }

    async fn unit(&self, key: &UnitKey) -> Result<Option<Unit>, StoreError> {
        self.read(&Key::unit(key)).await?.as_ref().map(documents::unit).transpose()
    }

    async fn replace_unit(&self, unit: &Unit) -> Result<(), StoreError> {
        units::replace(self, unit).await
    }

    async fn units_to_sweep(
        &self,
        policy: &RetryPolicy,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Unit>, StoreError> {
        sweep::units(self, policy, limit, now).await
    }

    async fn lease_target(
        &self,
        target: &Reference,
        owner: &str,
        hold: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let until = now.checked_add(hold).unwrap_or(Timestamp::MAX);
        targets::lease(self, target, owner, until, now).await
    }

    async fn release_target(&self, target: &Reference, owner: &str) -> Result<(), StoreError> {
        targets::release(self, target, owner).await
    }

    /// Whether the table can be read. It is not written: the query function may not.
    async fn check(&self) -> Result<(), StoreError> {
        self.read(&Key::nowhere()).await.map(drop)
    }

    async fn outrun(&self, times: u32) -> Result<(), StoreError> {
        if times >= ROUNDS {
            return Err(contended("an update"));
        }
        pause(times).await;
        Ok(())
    }
}
