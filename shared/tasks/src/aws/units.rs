//! The records of units, in the partition of their task.

use accel_domain::task::{Task, TaskId, Unit};

use super::documents::{self, WRITER, string};
use super::keys::{Key, task_partition};
use super::requests::{Change, Condition, Query, number, text};
use super::table::Table;
use crate::StoreError;

pub(super) async fn replace(table: &Table, unit: &Unit) -> Result<(), StoreError> {
    let writer = documents::writer();
    let item = documents::unit_item(&Unit { revision: unit.revision + 1, ..unit.clone() }, &writer);
    let condition = match unit.revision {
        0 => Condition::new("attribute_not_exists(#pk)"),
        revision => Condition::new("#revision = :revision").value("revision", number(revision)),
    };
    if table.settle(Change::Put(item, condition)).await? {
        return Ok(());
    }
    // It was written, and only the answer was lost; or somebody else has written.
    let stored = table.read(&Key::unit(&unit.key)).await?;
    let own = stored.as_ref().map(|item| string(item, WRITER)).transpose()? == Some(writer.as_str());
    if own { Ok(()) } else { Err(StoreError::Conflict) }
}

/// The task `id` with the records of the units of its generation, as they are now: they lie together.
pub(super) async fn with_task(table: &Table, id: &TaskId) -> Result<Option<(Task, Vec<Unit>)>, StoreError> {
    let keys = Condition::new("#pk = :pk").value("pk", text(task_partition(id)));
    let mut query = Query { index: None, keys, newest_first: false, limit: None, start: None };
    let (mut task, mut units) = (None, Vec::new());
    loop {
        let (items, end) = table.query(query.clone()).await?;
        for item in &items {
            if Key::of(item).is_some_and(|key| key == Key::task(id)) {
                task = Some(documents::task(item)?);
            } else {
                units.push(documents::unit(item)?);
            }
        }
        if end.is_none() {
            break;
        }
        query.start = end;
    }
    Ok(task.map(|task| {
        units.retain(|unit| unit.key.generation == task.generation);
        (task, units)
    }))
}
