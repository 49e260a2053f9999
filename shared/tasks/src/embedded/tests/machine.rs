//! Restarts, a second process, a full disk, clocks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{BackendError, Database, StorageBackend};

use super::super::file::StoreFile;
use super::*;
use crate::{ListQuery, StoreError};

const MINUTE: Duration = Duration::from_secs(60);

async fn receive(store: &Embedded) -> Option<crate::Received> {
    store.receive(Duration::ZERO, MINUTE).await.unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/accel.redb");
    let tasks = filled(&path).await;
    let store = Embedded::open(&path).unwrap();
    for (n, task) in (0..).zip(&tasks) {
        assert_eq!(store.get(&task.id, noon()).await.unwrap().as_ref(), Some(task));
        assert_eq!(store.find_layer(&layer_key(n), noon()).await.unwrap(), Some(layer(n)));
    }
    assert_eq!(store.list(&ListQuery::default(), noon()).await.unwrap().tasks.len(), tasks.len());
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside the store");
}

#[tokio::test]
async fn messages_in_flight_come_back_at_once_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let message = |n| Message { task: nth_id(n), generation: 1, part: 0, layer: None };
    let now = noon();
    {
        let store = Embedded::open_with(&path, Clock::manual(now)).unwrap();
        store.send(&message(1), Duration::ZERO).await.unwrap();
        assert_eq!(receive(&store).await.unwrap().receives, 1);
        store.send(&message(2), 10 * MINUTE).await.unwrap();
        assert_eq!(receive(&store).await, None);
    }
    let clock = Clock::manual(now);
    let store = Embedded::open_with(&path, clock.clone()).unwrap();
    let again = receive(&store).await.unwrap();
    assert_eq!((again.message, again.receives), (message(1), 2));
    store.acknowledge(&again.receipt).await.unwrap();
    assert_eq!(receive(&store).await, None, "what only waited still does");
    clock.advance(10 * MINUTE);
    assert_eq!(receive(&store).await.unwrap().message, message(2));
}

#[tokio::test]
async fn a_wall_clock_set_back_between_two_starts_delays_no_message_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let message = Message { task: nth_id(1), generation: 1, part: 0, layer: None };
    Embedded::open_with(&path, Clock::manual(noon())).unwrap().send(&message, MINUTE).await.unwrap();
    let year_before = Clock::manual("2024-01-01T00:00:00Z".parse().unwrap());
    let store = Embedded::open_with(&path, year_before.clone()).unwrap();
    assert_eq!(receive(&store).await, None);
    year_before.advance(15 * MINUTE);
    assert_eq!(receive(&store).await.unwrap().message, message);
}

#[tokio::test]
async fn a_target_leased_before_the_clock_was_set_back_is_free_after_one_hold() {
    let store = fresh().await.store;
    let target = "h.example/p/app:1-esgz".parse().unwrap();
    assert!(store.lease_target(&target, "dead", MINUTE, noon()).await.unwrap());
    let year_before: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
    assert!(!store.lease_target(&target, "b", MINUTE, year_before).await.unwrap());
    let after = year_before.checked_add(MINUTE).unwrap();
    assert!(store.lease_target(&target, "b", MINUTE, after).await.unwrap());
}

#[tokio::test]
async fn a_store_is_used_by_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let store = Embedded::open(&path).unwrap();
    let second = Embedded::open(&path).map(drop);
    assert!(matches!(&second, Err(StoreError::InUse(named)) if named.contains("accel.redb")), "{second:?}");
    assert!(matches!(Embedded::salvage(&path), Err(StoreError::InUse(_))));
    let clone = store.clone();
    drop(store);
    assert!(matches!(Embedded::open(&path).map(drop), Err(StoreError::InUse(_))));
    drop(clone);
    Embedded::open(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_make_one_store_at_once_make_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || Embedded::open(path))
        })
        .collect();
    let opened = futures::future::join_all(openers).await;
    let (open, refused): (Vec<_>, Vec<_>) = opened.into_iter().map(Result::unwrap).partition(Result::is_ok);
    assert_eq!((open.len(), refused.len()), (1, 7));
    assert!(refused.iter().all(|refused| matches!(refused, Err(StoreError::InUse(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    let opened = Embedded::open("/proc/no/such/accel.redb").map(drop);
    assert!(
        matches!(&opened, Err(StoreError::Unavailable(text)) if text.contains("/proc/no/such/accel.redb")),
        "{opened:?}"
    );
}

#[tokio::test]
async fn closing_waits_for_the_writes_that_were_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let store = Embedded::open(&path).unwrap();
    let tasks: Vec<Task> = (0..50).map(|n| nth(n, noon())).collect();
    // Polled once each: handed to the writer, never waited for.
    for task in &tasks {
        let mut admit = Box::pin(store.admit(task));
        assert!(futures::poll!(&mut admit).is_pending());
    }
    drop(store);
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.list(&ListQuery::default(), noon()).await.unwrap().tasks.len(), 50);
}

#[tokio::test]
async fn a_waiting_receiver_gets_a_delayed_message_when_it_is_due() {
    let Fresh { store, clock, _directory } = fresh().await;
    let message = Message { task: nth_id(1), generation: 1, part: 0, layer: None };
    store.send(&message, MINUTE).await.unwrap();
    let mut waiting = Box::pin(store.receive(10 * MINUTE, MINUTE));
    for _ in 0..100 {
        assert!(futures::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    clock.advance(MINUTE);
    assert_eq!(waiting.await.unwrap().map(|received| received.message), Some(message));
}

#[tokio::test]
async fn the_systems_clock_wakes_a_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path().join("accel.redb")).unwrap();
    let message = Message { task: nth_id(1), generation: 1, part: 0, layer: None };
    let begun = std::time::Instant::now();
    store.send(&message, Duration::from_millis(50)).await.unwrap();
    let received = store.receive(10 * MINUTE, MINUTE).await.unwrap();
    assert_eq!(received.map(|received| received.message), Some(message));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!(store.receive(Duration::from_millis(50), MINUTE).await.unwrap(), None);
}

/// A file on a disk that is full beyond `limit` bytes.
#[derive(Debug)]
struct Limited {
    file: redb::backends::FileBackend,
    limit: Arc<AtomicU64>,
}

impl Limited {
    fn check(&self, end: u64) -> Result<(), BackendError> {
        if end > self.limit.load(Ordering::SeqCst) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        Ok(())
    }
}

impl StorageBackend for Limited {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.check(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.check(offset + data.len() as u64)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), std::io::Error> {
        self.file.close()
    }
}

fn on_limited_disk(path: &Path, limit: &Arc<AtomicU64>) -> Embedded {
    drop(Embedded::open(path).unwrap());
    let limit = Arc::clone(limit);
    let opener = move |path: &Path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(redb::StorageError::Io)?;
        let file = redb::backends::FileBackend::new(file)?;
        Database::builder().create_with_backend(Limited { file, limit: Arc::clone(&limit) })
    };
    Embedded::start(StoreFile::open_with(path, Box::new(opener)).unwrap(), Clock::system()).unwrap()
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_store_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let limit = Arc::new(AtomicU64::new(u64::MAX));
    let store = on_limited_disk(&path, &limit);
    store.admit(&nth(0, noon())).await.unwrap();
    limit.store(path.metadata().unwrap().len(), Ordering::SeqCst);
    let mut written = 1;
    let error = loop {
        match store.admit(&nth(written, noon())).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100_000, "the disk never fills");
    };
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("accel.redb")), "{error}");
    // What was acknowledged can still be read.
    assert!(store.get(&nth_id(0), noon()).await.unwrap().is_some());
    limit.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(store.admit(&nth(written, noon())).await.unwrap(), Admission::Created);
    store.check().await.unwrap();
    drop(store);
    let store = Embedded::open(&path).unwrap();
    for n in 0..=written {
        assert!(store.get(&nth_id(n), noon()).await.unwrap().is_some(), "task {n} of {written}");
    }
}
