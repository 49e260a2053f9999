//! Forgetting what has expired.

use accel_domain::Timestamp;
use redb::ReadableTable;

use super::Embedded;
use super::file::Fault;
use super::layers::KEPT;
use super::record::{KeptLayer, TargetLease};
use super::tables::{Tables, due, load, load_indexed};
use crate::StoreError;

/// What one commit forgets at most, so that other writes do not wait long.
const PURGED_AT_ONCE: usize = 500;

impl Embedded {
    /// Forgets what has expired: tasks with their units and what indexes name them, layer records, leases of targets.
    /// Returns how many tasks that were.
    ///
    /// # Errors
    /// The file could not be written, or is damaged. What was forgotten by then is.
    pub async fn purge(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut tasks = 0;
        loop {
            let (more, purged) = self.write(move |tables| purge_some(tables, now)).await?;
            tasks += purged;
            if !more {
                return Ok(tasks);
            }
        }
    }
}

/// Forgets some of what has expired: whether there may be more, and how many tasks it was.
fn purge_some(tables: &mut Tables<'_>, now: Timestamp) -> Result<(bool, usize), Fault> {
    let tasks = due(&tables.expiring, now, PURGED_AT_ONCE)?;
    let tasks = tasks.iter().map(|id| load_indexed(&tables.tasks, id)).collect::<Result<Vec<_>, _>>()?;
    let unused_since = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let layers = due(&tables.layer_uses, unused_since, PURGED_AT_ONCE)?;
    let layers = layers.iter().map(|key| load(&tables.layers, key)).collect::<Result<Vec<Option<KeptLayer>>, _>>()?;
    let targets = expired_targets(tables, now)?;
    let more = tasks.len() == PURGED_AT_ONCE || layers.len() == PURGED_AT_ONCE || targets.len() == PURGED_AT_ONCE;
    for task in &tasks {
        tables.remove_task(task)?;
    }
    for layer in layers.iter().flatten() {
        tables.remove_layer(layer)?;
    }
    for key in &targets {
        tables.remove_target(key)?;
    }
    Ok((more, tasks.len()))
}

fn expired_targets(tables: &Tables<'_>, now: Timestamp) -> Result<Vec<String>, Fault> {
    let mut expired = Vec::new();
    for entry in tables.targets.iter()? {
        let key = entry?.0.value().to_owned();
        let lease = load::<TargetLease>(&tables.targets, &key)?;
        if lease.is_some_and(|lease| lease.until <= now) && expired.len() < PURGED_AT_ONCE {
            expired.push(key);
        }
    }
    Ok(expired)
}
