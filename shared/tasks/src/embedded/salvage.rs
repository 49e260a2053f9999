//! Rescues what can be read of a damaged file.
//!
//! The file is not opened as a database: its records are looked for byte by byte, and each says what it is and whether
//! it is whole. So any damage costs the records that it hit, and no others. Freed pages hold older versions of records:
//! of each task and unit the highest revision counts. A task that was forgotten before may come back; running it again costs one
//! request, since its target carries its marker or its source tag has moved on.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use accel_domain::Timestamp;
use accel_domain::task::{State, Task, TaskId, Unit, UnitKey};
use serde::de::DeserializeOwned;

use super::file::{Fault, StoreFile, create_beside, unavailable};
use super::queue::first_free_id;
use super::record::{
    HEADER_BYTES, KeptLayer, MARK, MAX_CONTENT_BYTES, QueuedMessage, Record, content_of, layer_key, task_id_of,
};
use super::tables::{Tables, load, load_id};
use crate::{Message, StoreError};

/// What was rescued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Where the damaged file is now.
    pub set_aside: PathBuf,
    /// Tasks in the new store.
    pub kept: usize,
    /// Tasks of which something was found, but no whole record. Those of which nothing is left are not counted.
    pub lost: usize,
    /// Layer records in the new store.
    pub layers: usize,
}

/// Tasks and layers written in one commit.
const WRITTEN_AT_ONCE: usize = 500;

pub(super) fn salvage(path: &Path) -> Result<Salvaged, StoreError> {
    let failed = |error: io::Error| unavailable(path, &error);
    let mut damaged = File::open(path).map_err(failed)?;
    match damaged.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let found = survey(&mut damaged).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fresh = create_beside(path, directory)?;
    let (kept, layers) = fill(&StoreFile::open(fresh.path())?, &mut damaged, &found, path)?;

    let set_aside = free_name(path).map_err(failed)?;
    std::fs::rename(path, &set_aside).map_err(failed)?;
    fresh.persist_noclobber(path).map_err(|error| failed(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    let lost = found.broken.iter().filter(|id| !found.tasks.contains_key(*id)).count();
    Ok(Salvaged { set_aside, kept, lost, layers })
}

/// A record's place in the file.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    bytes: usize,
}

#[derive(Default)]
struct Found {
    /// The newest version of each task.
    tasks: HashMap<TaskId, (u64, Timestamp, Place)>,
    /// The newest version of each unit.
    units: HashMap<UnitKey, (u64, Place)>,
    /// The latest use of each layer record.
    layers: HashMap<String, (Timestamp, Place)>,
    /// Tasks with a record that is not whole.
    broken: HashSet<TaskId>,
}

impl Found {
    fn add(&mut self, record: &[u8], place: Place) {
        if let Some(task) = parse::<Task>(record) {
            let newer = self.tasks.get(&task.id).is_none_or(|(revision, ..)| task.revision >= *revision);
            if newer {
                self.tasks.insert(task.id, (task.revision, task.created, place));
            }
        } else if let Some(unit) = parse::<Unit>(record) {
            if self.units.get(&unit.key).is_none_or(|(revision, _)| unit.revision >= *revision) {
                self.units.insert(unit.key, (unit.revision, place));
            }
        } else if let Some(layer) = parse::<KeptLayer>(record) {
            let key = layer_key(&layer.key);
            if self.layers.get(&key).is_none_or(|(used, _)| layer.used >= *used) {
                self.layers.insert(key, (layer.used, place));
            }
        } else if record[4] == Task::KIND {
            self.broken.extend(task_id_of(&record[HEADER_BYTES..]));
        }
    }
}

/// The record that `bytes` are, if they are one of its kind and whole.
fn parse<R: Record + DeserializeOwned>(bytes: &[u8]) -> Option<R> {
    serde_json::from_slice(content_of(R::KIND, bytes)?).ok()
}

/// Looks for records in the whole file, through a window that holds the longest one.
fn survey(file: &mut File) -> io::Result<Found> {
    let mut found = Found::default();
    let mut window: Vec<u8> = Vec::new();
    let mut start = 0;
    loop {
        let more = io::copy(&mut file.by_ref().take((2 * MAX_CONTENT_BYTES) as u64), &mut window)? > 0;
        let longest = HEADER_BYTES + MAX_CONTENT_BYTES;
        let searched = if more { window.len().saturating_sub(longest) } else { window.len() };
        let mut at = 0;
        while let Some(next) = find_mark(&window[at..]).map(|next| at + next).filter(|next| *next < searched) {
            at = next + 1;
            if let Some(bytes) = record_bytes(&window[next..]) {
                let place = Place { offset: start + next as u64, bytes };
                found.add(&window[next..next + bytes], place);
            }
        }
        if !more {
            return Ok(found);
        }
        window.drain(..searched);
        start += searched as u64;
    }
}

fn find_mark(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|four| four == MARK)
}

/// How long the record at the start of `bytes` says it is, header included, cut at the end of `bytes`.
fn record_bytes(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 4] = bytes.get(5..9)?.try_into().ok()?;
    let content = u32::from_le_bytes(length) as usize;
    (content <= MAX_CONTENT_BYTES && bytes.len() >= HEADER_BYTES).then(|| bytes.len().min(HEADER_BYTES + content))
}

/// Writes what was found into the new store: (tasks, layer records).
fn fill(store: &StoreFile, damaged: &mut File, found: &Found, path: &Path) -> Result<(usize, usize), StoreError> {
    let mut tasks: Vec<_> = found.tasks.values().collect();
    // Newest first: where two tasks claim one live key, the older is a ghost from a freed page.
    tasks.sort_by_key(|(_, created, _)| std::cmp::Reverse(*created));
    let mut kept = 0;
    let mut next_message = first_free_id(store)?;
    for places in tasks.chunks(WRITTEN_AT_ONCE) {
        let tasks: Vec<Task> = read_all(damaged, places.iter().map(|(_, _, place)| *place), path)?;
        kept += store.commit(|tables| keep_tasks(tables, &tasks, &mut next_message))?;
    }
    let places: Vec<Place> = found.units.values().map(|(_, place)| *place).collect();
    for places in places.chunks(WRITTEN_AT_ONCE) {
        let units: Vec<Unit> = read_all(damaged, places.iter().copied(), path)?;
        store.commit(|tables| units.iter().try_for_each(|unit| keep_unit(tables, unit)))?;
    }
    let places: Vec<Place> = found.layers.values().map(|(_, place)| *place).collect();
    for places in places.chunks(WRITTEN_AT_ONCE) {
        let layers: Vec<KeptLayer> = read_all(damaged, places.iter().copied(), path)?;
        store.commit(|tables| layers.iter().try_for_each(|layer| tables.put_layer(None, layer)))?;
    }
    Ok((kept, places.len()))
}

/// Writes `tasks`, and the messages that those which have not ended wait for: the queue's own are not rescued.
fn keep_tasks(tables: &mut Tables<'_>, tasks: &[Task], next_message: &mut u64) -> Result<usize, Fault> {
    let mut kept = 0;
    for task in tasks {
        let live = task.state.is_live();
        if load::<Task>(&tables.tasks, &task.id.to_string())?.is_some()
            || (live && load_id(&tables.live, &task.live_key())?.is_some())
        {
            continue;
        }
        put_under_newer(tables, task)?;
        kept += 1;
        let own = Some(Message::from(task)).filter(|_| live && task.state != State::FannedOut);
        for message in own.into_iter().chain(task.units().iter().map(Message::from)) {
            let visible = task.work.not_before.unwrap_or(task.created);
            tables
                .put_message(None, &QueuedMessage { id: *next_message, message, visible, receives: 0, held: false })?;
            *next_message += 1;
        }
    }
    Ok(kept)
}

/// Writes `task`, which is older than all that were written before: a delivery that one of them has stays theirs.
fn put_under_newer(tables: &mut Tables<'_>, task: &Task) -> Result<(), Fault> {
    let newer = match task.delivery_key() {
        Some(key) => load_id(&tables.deliveries, &key)?.map(|id| (key, id)),
        None => None,
    };
    tables.put_task(None, task)?;
    if let Some((key, id)) = newer {
        tables.deliveries.insert(key.as_str(), id.to_string().as_str())?;
    }
    Ok(())
}

/// Writes `unit` if its task was kept.
fn keep_unit(tables: &mut Tables<'_>, unit: &Unit) -> Result<(), Fault> {
    match load::<Task>(&tables.tasks, &unit.key.task.to_string())? {
        Some(_) => tables.put_unit(unit),
        None => Ok(()),
    }
}

fn read_all<R: Record>(
    file: &mut File,
    places: impl Iterator<Item = Place>,
    path: &Path,
) -> Result<Vec<R>, StoreError> {
    let records = places.filter_map(|place| read(file, place).transpose());
    records.collect::<Result<_, _>>().map_err(|error: io::Error| unavailable(path, &error))
}

fn read<R: Record>(file: &mut File, place: Place) -> io::Result<Option<R>> {
    let mut bytes = vec![0; place.bytes];
    file.seek(SeekFrom::Start(place.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(parse(&bytes))
}

/// `<name>.damaged-<n>`, the first that is free.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    for n in 1_u32.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".damaged-{n}"));
        let candidate = path.with_file_name(name);
        if !candidate.try_exists()? {
            return Ok(candidate);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
