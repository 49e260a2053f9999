//! The records of units.

use accel_domain::Timestamp;
use accel_domain::task::{RetryPolicy, TaskId, Unit};
use redb::ReadableTable;

use super::file::Fault;
use super::record::{Record, seal, unit_key};
use super::tables::{self, Tables, View, load, load_indexed};
use crate::StoreError;

impl Tables<'_> {
    /// Writes `unit` as it is.
    pub(super) fn put_unit(&mut self, unit: &Unit) -> Result<(), Fault> {
        let sealed = seal(unit)?;
        self.writes += 1;
        self.units.insert(unit.key().as_str(), sealed.as_slice())?;
        Ok(())
    }

    /// Forgets all units of `task`, whatever their generation.
    pub(super) fn remove_units(&mut self, task: &TaskId) -> Result<(), Fault> {
        // `!` is what follows the blank that ends the id in a unit's key.
        let (first, end) = (format!("{task} "), format!("{task}!"));
        let keys = self.units.range(first.as_str()..end.as_str())?;
        let keys = keys.map(|entry| Ok(entry?.0.value().to_owned())).collect::<Result<Vec<_>, Fault>>()?;
        for key in keys {
            self.writes += 1;
            self.units.remove(key.as_str())?;
        }
        Ok(())
    }
}

pub(super) fn replace(tables: &mut Tables<'_>, unit: &Unit) -> Result<(), Fault> {
    let before: Option<Unit> = load(&tables.units, &unit_key(&unit.key))?;
    if before.map_or(0, |before| before.revision) != unit.revision {
        return Err(StoreError::Conflict.into());
    }
    tables.put_unit(&Unit { revision: unit.revision + 1, ..unit.clone() })
}

/// Damage does not keep other units from being swept: it is reported once nothing else is left to do.
pub(super) fn to_sweep(view: &View, policy: &RetryPolicy, limit: usize, now: Timestamp) -> Result<Vec<Unit>, Fault> {
    let (live, tasks, units) = (view.table(tables::LIVE)?, view.table(tables::TASKS)?, view.table(tables::UNITS)?);
    let mut found = Vec::new();
    let mut damage = Ok(());
    for entry in live.iter()? {
        let awaited = match load_indexed(&tasks, entry?.1.value()) {
            Ok(task) => task.units(),
            Err(fault) => {
                damage = Err(fault);
                continue;
            }
        };
        for fresh in awaited {
            if found.len() == limit {
                return Ok(found);
            }
            match load::<Unit>(&units, &fresh.key()) {
                Ok(stored) => found.extend(Some(stored.unwrap_or(fresh)).filter(|u| u.sweep(policy, now).is_some())),
                Err(fault) => damage = Err(fault),
            }
        }
    }
    if found.is_empty() { damage.map(|()| found) } else { Ok(found) }
}
