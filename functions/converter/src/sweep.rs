//! The sweeper's rounds.

use accel_domain::task::Task;
use accel_runtime::clock::now;
use accel_tasks::{LayerCache, StoreError, Swept, TaskQueue, TaskStore, sweep};
use tracing::info;

use crate::settle::Converter;

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    /// One round of the sweeper over at most `limit` tasks and as many units; due each minute. A task that it gives up
    /// is reported and counted at once, as any other that ends: also if the round fails, or is dropped.
    ///
    /// # Errors
    /// The first error, after all were tried.
    pub async fn sweep(&self, limit: usize) -> Result<(), StoreError> {
        let ended = |task: &Task| self.ended(task);
        let swept = sweep(&*self.store, &*self.queue, &self.policy, limit, now(), ended).await?;
        if swept != Swept::default() {
            info!(enqueued = swept.enqueued, failed = swept.failed, "swept");
        }
        Ok(())
    }
}
