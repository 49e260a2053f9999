//! The tables, and the writes that keep the indexes in step with the records.

use accel_domain::Timestamp;
use accel_domain::task::{Task, TaskId};
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::file::Fault;
use super::record::{About, KeptLayer, QueuedMessage, Record, TargetLease, seal, unseal};

/// A table of records by key.
pub(super) type Records = TableDefinition<'static, &'static str, &'static [u8]>;
/// An index by time, in nanoseconds since 1970, and key.
pub(super) type Times = TableDefinition<'static, (i128, &'static str), ()>;
/// An index from a key to a task's id.
pub(super) type Ids = TableDefinition<'static, &'static str, &'static str>;

/// What the file is.
pub(super) const ABOUT: Records = TableDefinition::new("about");
/// Tasks by id.
pub(super) const TASKS: Records = TableDefinition::new("tasks");
/// Tasks by creation, newest first: the time is negated.
pub(super) const CREATED: Times = TableDefinition::new("tasks by creation");
/// Ended tasks by the time when they are forgotten.
pub(super) const EXPIRING: Times = TableDefinition::new("tasks by expiry");
/// Live tasks by live key.
pub(super) const LIVE: Ids = TableDefinition::new("live tasks");
/// Tasks by the delivery that made them.
pub(super) const DELIVERIES: Ids = TableDefinition::new("deliveries");
/// Units by task, generation and layer.
pub(super) const UNITS: Records = TableDefinition::new("units");
/// Messages by id.
pub(super) const MESSAGES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("messages");
/// Messages by the time when they may be received.
pub(super) const VISIBLE: TableDefinition<'static, (i128, u64), ()> = TableDefinition::new("messages by visibility");
/// Layer records by key.
pub(super) const LAYERS: Records = TableDefinition::new("layers");
/// Layer records by last use.
pub(super) const LAYER_USES: Times = TableDefinition::new("layers by use");
/// Leases of targets.
pub(super) const TARGETS: Records = TableDefinition::new("target leases");

/// A snapshot of the tables to read from.
pub(super) struct View(pub(super) ReadTransaction);

impl View {
    pub(super) fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, Fault> {
        Ok(self.0.open_table(table)?)
    }
}

/// The tables of a commit in the making.
pub(super) struct Tables<'t> {
    pub(super) tasks: Table<'t, &'static str, &'static [u8]>,
    pub(super) created: Table<'t, (i128, &'static str), ()>,
    pub(super) expiring: Table<'t, (i128, &'static str), ()>,
    pub(super) live: Table<'t, &'static str, &'static str>,
    pub(super) deliveries: Table<'t, &'static str, &'static str>,
    pub(super) units: Table<'t, &'static str, &'static [u8]>,
    pub(super) messages: Table<'t, u64, &'static [u8]>,
    pub(super) visible: Table<'t, (i128, u64), ()>,
    pub(super) layers: Table<'t, &'static str, &'static [u8]>,
    pub(super) layer_uses: Table<'t, (i128, &'static str), ()>,
    pub(super) targets: Table<'t, &'static str, &'static [u8]>,
    about: Table<'t, &'static str, &'static [u8]>,
    /// Raised by every write.
    pub(super) writes: u64,
}

/// Makes the tables of a new file.
pub(super) fn initialise(database: &Database) -> Result<(), Fault> {
    let transaction = begin(database)?;
    let mut tables = Tables::open(&transaction)?;
    tables.touch()?;
    drop(tables);
    Ok(transaction.commit()?)
}

/// Begins a commit. Two-phase: redb never falls back to an older commit, so damage to the latest is reported.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            tasks: transaction.open_table(TASKS)?,
            created: transaction.open_table(CREATED)?,
            expiring: transaction.open_table(EXPIRING)?,
            live: transaction.open_table(LIVE)?,
            deliveries: transaction.open_table(DELIVERIES)?,
            units: transaction.open_table(UNITS)?,
            messages: transaction.open_table(MESSAGES)?,
            visible: transaction.open_table(VISIBLE)?,
            layers: transaction.open_table(LAYERS)?,
            layer_uses: transaction.open_table(LAYER_USES)?,
            targets: transaction.open_table(TARGETS)?,
            about: transaction.open_table(ABOUT)?,
            writes: 0,
        })
    }

    /// A write that changes nothing, to see whether writing works.
    pub(super) fn touch(&mut self) -> Result<(), Fault> {
        self.writes += 1;
        self.about.insert(About::KEY, seal(&About::CURRENT)?.as_slice())?;
        Ok(())
    }

    /// Writes `task`, which replaces `before`, and moves the index entries that are other ones now.
    pub(super) fn put_task(&mut self, before: Option<&Task>, task: &Task) -> Result<(), Fault> {
        let sealed = seal(task)?;
        self.writes += 1;
        self.unindex(before, Some(task))?;
        let id = task.id.to_string();
        self.tasks.insert(id.as_str(), sealed.as_slice())?;
        let (old, keys) = (before.map(Keys::of).unwrap_or_default(), Keys::of(task));
        if before.is_none() || old.created != keys.created {
            self.created.insert((keys.created, id.as_str()), ())?;
        }
        if let Some(expires) = keys.expires.filter(|_| old.expires != keys.expires) {
            self.expiring.insert((expires, id.as_str()), ())?;
        }
        if let Some(live) = keys.live.as_ref().filter(|_| old.live != keys.live) {
            self.live.insert(live.as_str(), id.as_str())?;
        }
        if let Some(delivery) = keys.delivery.as_ref().filter(|_| old.delivery != keys.delivery) {
            self.deliveries.insert(delivery.as_str(), id.as_str())?;
        }
        Ok(())
    }

    /// Forgets `task`, and its units.
    pub(super) fn remove_task(&mut self, task: &Task) -> Result<(), Fault> {
        self.writes += 1;
        self.unindex(Some(task), None)?;
        self.remove_units(&task.id)?;
        self.tasks.remove(task.id.to_string().as_str())?;
        Ok(())
    }

    /// Removes the index entries of `before` that `task` does not have.
    fn unindex(&mut self, before: Option<&Task>, task: Option<&Task>) -> Result<(), Fault> {
        let Some(before) = before else { return Ok(()) };
        let id = before.id.to_string();
        let (old, new) = (Keys::of(before), task.map(Keys::of).unwrap_or_default());
        if old.created != new.created || task.is_none() {
            self.created.remove((old.created, id.as_str()))?;
        }
        if let Some(expires) = old.expires.filter(|_| old.expires != new.expires) {
            self.expiring.remove((expires, id.as_str()))?;
        }
        if let Some(live) = old.live.as_ref().filter(|_| old.live != new.live) {
            remove_own(&mut self.live, live, &id)?;
        }
        if let Some(delivery) = old.delivery.as_ref().filter(|_| old.delivery != new.delivery) {
            remove_own(&mut self.deliveries, delivery, &id)?;
        }
        Ok(())
    }

    /// Writes `message`, which replaces `before`.
    pub(super) fn put_message(&mut self, before: Option<&QueuedMessage>, message: &QueuedMessage) -> Result<(), Fault> {
        let sealed = seal(message)?;
        self.writes += 1;
        if let Some(before) = before {
            self.visible.remove((before.visible.as_nanosecond(), before.id))?;
        }
        self.visible.insert((message.visible.as_nanosecond(), message.id), ())?;
        self.messages.insert(message.id, sealed.as_slice())?;
        Ok(())
    }

    pub(super) fn remove_message(&mut self, message: &QueuedMessage) -> Result<(), Fault> {
        self.writes += 1;
        self.visible.remove((message.visible.as_nanosecond(), message.id))?;
        self.messages.remove(message.id)?;
        Ok(())
    }

    /// Writes `layer`, which replaces `before`.
    pub(super) fn put_layer(&mut self, before: Option<&KeptLayer>, layer: &KeptLayer) -> Result<(), Fault> {
        let (key, sealed) = (layer.key(), seal(layer)?);
        self.writes += 1;
        if let Some(before) = before {
            self.layer_uses.remove((before.used.as_nanosecond(), key.as_str()))?;
        }
        self.layer_uses.insert((layer.used.as_nanosecond(), key.as_str()), ())?;
        self.layers.insert(key.as_str(), sealed.as_slice())?;
        Ok(())
    }

    pub(super) fn remove_layer(&mut self, layer: &KeptLayer) -> Result<(), Fault> {
        let key = layer.key();
        self.writes += 1;
        self.layer_uses.remove((layer.used.as_nanosecond(), key.as_str()))?;
        self.layers.remove(key.as_str())?;
        Ok(())
    }

    pub(super) fn put_target(&mut self, lease: &TargetLease) -> Result<(), Fault> {
        let sealed = seal(lease)?;
        self.writes += 1;
        self.targets.insert(lease.key().as_str(), sealed.as_slice())?;
        Ok(())
    }

    pub(super) fn remove_target(&mut self, key: &str) -> Result<(), Fault> {
        self.writes += 1;
        self.targets.remove(key)?;
        Ok(())
    }
}

/// The record of `key`, its checksum verified.
pub(super) fn load<R: Record>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<R>, Fault> {
    table.get(key)?.map(|bytes| unseal(key, bytes.value())).transpose()
}

/// The message `id`, its checksum verified.
pub(super) fn load_message(
    table: &impl ReadableTable<u64, &'static [u8]>,
    id: u64,
) -> Result<Option<QueuedMessage>, Fault> {
    table.get(id)?.map(|bytes| unseal(&id.to_string(), bytes.value())).transpose()
}

/// The task that an index names: an entry without its task is damage.
pub(super) fn load_indexed(table: &impl ReadableTable<&'static str, &'static [u8]>, id: &str) -> Result<Task, Fault> {
    let missing = || Fault::Record { title: Task::title(id), detail: "an index names it, but it is not there".into() };
    load(table, id)?.ok_or_else(missing)
}

/// The id that an index has under `key`.
pub(super) fn load_id(
    table: &impl ReadableTable<&'static str, &'static str>,
    key: &str,
) -> Result<Option<TaskId>, Fault> {
    let Some(id) = table.get(key)? else { return Ok(None) };
    let broken = |_| Fault::Record { title: format!("index entry {key}"), detail: "it names no task".into() };
    id.value().parse().map(Some).map_err(broken)
}

/// Up to `limit` keys whose time in `table` is not after `now`.
pub(super) fn due(
    table: &impl ReadableTable<(i128, &'static str), ()>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<String>, Fault> {
    let until = (now.as_nanosecond() + 1, "");
    table.range(..until)?.take(limit).map(|entry| Ok(entry?.0.value().1.to_owned())).collect()
}

fn remove_own(table: &mut Table<'_, &'static str, &'static str>, key: &str, id: &str) -> Result<(), Fault> {
    let own = table.get(key)?.is_some_and(|found| found.value() == id);
    if own {
        table.remove(key)?;
    }
    Ok(())
}

/// Where a task stands in the indexes.
#[derive(Default)]
struct Keys {
    created: i128,
    expires: Option<i128>,
    live: Option<String>,
    delivery: Option<String>,
}

impl Keys {
    fn of(task: &Task) -> Self {
        Self {
            created: -task.created.as_nanosecond(),
            expires: task.expires.map(Timestamp::as_nanosecond),
            live: task.state.is_live().then(|| task.live_key()),
            delivery: task.delivery_key(),
        }
    }
}
