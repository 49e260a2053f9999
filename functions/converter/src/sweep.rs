//! The sweeper's rounds.

use accel_runtime::clock::now;
use accel_tasks::{LayerCache, StoreError, TaskQueue, TaskStore, sweep};
use tracing::info;

use crate::settle::Converter;

impl<S: TaskStore + LayerCache, Q: TaskQueue> Converter<S, Q> {
    /// One round of the sweeper over at most `limit` tasks and as many units; due each minute. A task that it gives up
    /// is reported and counted as any other that ends.
    ///
    /// # Errors
    /// The first error, after all were tried.
    pub async fn sweep(&self, limit: usize) -> Result<(), StoreError> {
        let swept = sweep(&*self.store, &*self.queue, &self.policy, limit, now()).await?;
        swept.failed.iter().for_each(|task| self.ended(task));
        if swept.enqueued > 0 || !swept.failed.is_empty() {
            info!(enqueued = swept.enqueued, failed = swept.failed.len(), "swept");
        }
        Ok(())
    }
}
