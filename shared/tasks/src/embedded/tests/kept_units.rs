//! Units in the file: read as they were written, rescued with their tasks, and not missed in older files.

use std::collections::BTreeSet;
use std::fs;

use redb::{Database, ReadableTable};

use super::super::record::{About, MARK, seal};
use super::super::tables::{ABOUT, UNITS};
use super::*;
use crate::{enqueue_unit, start_unit};

/// A store with a task that has fanned out into two units, of which one was begun once.
async fn with_units(path: &Path) -> Vec<UnitKey> {
    let store = Embedded::open(path).unwrap();
    let (task, policy) = (nth(99, noon()), RetryPolicy::default());
    store.admit(&task).await.unwrap();
    let units: BTreeSet<Digest> = [Digest::of(b"x"), Digest::of(b"y")].into();
    let fan_out = |task: &mut Task| {
        assert_eq!(task.start(1, "a", &policy, noon()), Start::Run);
        Ok(task.fan_out("a", 1, units.clone(), &policy, noon())?)
    };
    let (task, _) = store.update(&task.id, noon(), fan_out).await.unwrap();
    let keys: Vec<UnitKey> = task.units().into_iter().map(|unit| unit.key).collect();
    start_unit(&store, &keys[0], "dies", &policy, noon()).await.unwrap().unwrap();
    keys
}

#[tokio::test]
async fn salvaging_keeps_units_and_sends_their_messages() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let keys = with_units(&path).await;
    let salvaged = Embedded::salvage(&path).unwrap();
    assert_eq!((salvaged.kept, salvaged.lost), (1, 0));
    let store = Embedded::open(&path).unwrap();
    let mut sent = Vec::new();
    while let Some(received) = store.receive(Duration::ZERO, Duration::from_secs(60)).await.unwrap() {
        sent.push(received.message.unit().expect("the task itself waits for its units"));
    }
    sent.sort();
    assert_eq!(sent, keys);
    let late = noon().checked_add(Duration::from_secs(60)).unwrap();
    let again = start_unit(&store, &keys[0], "b", &RetryPolicy::default(), late).await.unwrap().unwrap();
    assert_eq!((again.start, again.unit.work.attempts), (Start::Run, 1), "the attempt before counts");
}

#[tokio::test]
async fn a_damaged_unit_is_reported_never_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let keys = with_units(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    let is_unit = |at: &usize| bytes[*at..].starts_with(&MARK) && bytes[at + 4] == b'U';
    let units: Vec<usize> = (0..bytes.len() - 5).filter(is_unit).collect();
    assert!(!units.is_empty());
    for at in units {
        bytes[at + 40] ^= 4;
    }
    fs::write(&path, bytes).unwrap();
    let read = match Embedded::open(&path) {
        Ok(store) => store.unit(&keys[0]).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(read, Err(crate::StoreError::Damaged { .. })), "{read:?}");
}

#[tokio::test]
async fn a_purge_leaves_no_record_of_a_unit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let keys = with_units(&path).await;
    let store = Embedded::open(&path).unwrap();
    let policy = RetryPolicy::default();
    crate::fail_unit(&store, &keys[0], "damaged", &policy, noon()).await.unwrap().unwrap();
    let after = noon().checked_add(policy.retention).unwrap();
    assert_eq!(store.purge(after).await.unwrap(), 1);
    let left = store.read(|view| Ok(view.table(UNITS)?.iter()?.count())).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_store_of_version_1_is_read_and_gets_units() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let tasks = filled(&path).await;
    {
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.delete_table(UNITS).unwrap();
        let about = seal(&About { version: 1 }).unwrap();
        transaction.open_table(ABOUT).unwrap().insert(About::KEY, about.as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    let keys = with_units(&path).await;
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.get(&tasks[3].id, noon()).await.unwrap().as_ref(), Some(&tasks[3]));
    let unit = store.unit(&keys[0]).await.unwrap().unwrap();
    enqueue_unit(&store, &store, &unit, Duration::ZERO, noon()).await.unwrap();
}
