//! Flipped bits and cut files: every value is right, or the damage is reported.

use std::fs;
use std::path::PathBuf;

use futures::future::join_all;

use super::super::record::{HEADER_BYTES, MARK, Record as _, content_of};
use super::*;
use crate::{ListQuery, StoreError};

/// What a look at the whole store sees, if it is not refused.
async fn look(path: &Path, tasks: &[Task]) -> Result<(), StoreError> {
    let store = Embedded::open(path)?;
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(store.get(&task.id, noon()).await?.as_ref(), Some(task), "never a wrong task, never none");
        let live = store.live(&task.live_key()).await?;
        assert_eq!(live, task.state.is_live().then(|| task.id.clone()));
        assert_eq!(store.find_layer(&layer_key(n), noon()).await?, Some(layer(n)));
        assert_eq!(store.unit(&unit(n).key).await?, Some(Unit { revision: 1, ..unit(n) }));
    }
    let again: Vec<Task> = (1000..).zip(tasks).map(|(n, task)| Task { id: nth_id(n), ..task.clone() }).collect();
    for (task, admission) in tasks.iter().zip(join_all(again.iter().map(|task| store.admit(task))).await) {
        assert_eq!(admission?.task(task).id, task.id);
    }
    let mut listed = store.list(&ListQuery::default(), noon()).await?.tasks;
    listed.sort_by_key(|task| task.id.clone());
    assert_eq!(listed, tasks);
    let receive = || store.receive(Duration::ZERO, Duration::from_secs(60));
    let received = join_all((0..=tasks.len()).map(|_| receive())).await;
    let received = received.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(received.iter().flatten().count(), tasks.len());
    Ok(())
}

/// Looks at a damaged copy: whether the damage was reported.
async fn is_reported(path: &Path, bytes: &[u8], tasks: &[Task], what: &str) -> bool {
    fs::write(path, bytes).unwrap();
    match look(path, tasks).await {
        Ok(()) => false,
        Err(StoreError::Damaged { what, detail }) => {
            assert!(what.contains("copy.redb"), "names the file: {what}");
            assert!(detail.contains("accelctl store salvage"), "names the way out: {detail}");
            true
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
}

struct Original {
    directory: tempfile::TempDir,
    bytes: Vec<u8>,
    tasks: Vec<Task>,
}

async fn original() -> Original {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let tasks = filled(&path).await;
    Original { bytes: fs::read(&path).unwrap(), tasks, directory }
}

impl Original {
    fn copy(&self) -> PathBuf {
        self.directory.path().join("copy.redb")
    }

    /// Where bytes lie that are not zero: pages in use, and ones freed a moment ago.
    fn used(&self) -> Vec<usize> {
        (0..self.bytes.len()).filter(|at| self.bytes[*at] != 0).collect()
    }
}

/// Flips a bit of each byte of the header, and of so many places all over the pages in use; how many of how many were
/// reported. Of those, each `nth` is salvaged.
async fn flipped(places: usize, nth: usize) -> (usize, usize) {
    let original = original().await;
    assert!(!is_reported(&original.copy(), &original.bytes, &original.tasks, "whole").await);
    let used = original.used();
    let places = places.min(used.len());
    let elsewhere = (0..places).map(|n| used[n * used.len() / places]);
    let (mut reported, mut all) = (0, 0);
    for at in (0..320).chain(elsewhere) {
        let mut bytes = original.bytes.clone();
        bytes[at] ^= 1 << (all % 8);
        let what = format!("bit {} of byte {at}", all % 8);
        all += 1;
        if is_reported(&original.copy(), &bytes, &original.tasks, &what).await {
            reported += 1;
            if reported % nth == 0 {
                assert_salvaged(&original, &bytes, &what).await;
            }
        }
    }
    (reported, all)
}

/// Of what was reported, the way out leaves a store that holds right tasks only.
async fn assert_salvaged(original: &Original, bytes: &[u8], what: &str) {
    let path = original.copy();
    fs::write(&path, bytes).unwrap();
    let salvaged = Embedded::salvage(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(fs::read(&salvaged.set_aside).unwrap(), bytes, "{what}");
    fs::remove_file(&salvaged.set_aside).unwrap();
    let store = Embedded::open(&path).unwrap();
    let kept = store.list(&ListQuery::default(), noon()).await.unwrap().tasks;
    assert!(kept.len() + 1 >= original.tasks.len(), "{what}: only {} are left", kept.len());
    assert!(kept.iter().all(|task| original.tasks.contains(task)), "{what}");
}

#[tokio::test]
async fn a_flipped_bit_is_reported_or_does_not_matter() {
    let (reported, all) = flipped(240, 10).await;
    assert!(reported > 100, "only {reported} of {all} flipped bits were noticed");
}

#[tokio::test]
#[ignore = "takes minutes: just reliability"]
async fn a_bit_flipped_anywhere_is_reported_or_does_not_matter() {
    let (reported, all) = flipped(4000, 1).await;
    println!("reliability: {all} bits flipped, {reported} reported, no wrong value read");
}

#[tokio::test]
#[ignore = "takes minutes: just reliability"]
async fn a_file_cut_off_anywhere_is_reported() {
    let original = original().await;
    let whole = original.bytes.len();
    let cuts = 3000.min(whole);
    for cut in (0..cuts).map(|n| n * whole / cuts) {
        let what = format!("cut to {cut} bytes");
        assert!(is_reported(&original.copy(), &original.bytes[..cut], &original.tasks, &what).await, "{what}");
    }
    println!("reliability: {cuts} cuts, all reported");
}

#[tokio::test]
async fn every_bit_of_the_flags_is_reported_or_does_not_matter() {
    let original = original().await;
    for at in [9, 10, 11] {
        for bit in 0..8 {
            let mut bytes = original.bytes.clone();
            bytes[at] ^= 1 << bit;
            is_reported(&original.copy(), &bytes, &original.tasks, &format!("bit {bit} of byte {at}")).await;
        }
    }
}

#[tokio::test]
async fn a_cut_file_is_reported() {
    let original = original().await;
    let whole = original.bytes.len();
    let cuts = (0..60).map(|n| n * whole / 60).chain([1, 9, 63, 64, 319, 320, 4095, 4096, 4097, whole - 1]);
    for cut in cuts {
        let what = format!("cut to {cut} bytes");
        assert!(is_reported(&original.copy(), &original.bytes[..cut], &original.tasks, &what).await, "{what}");
    }
}

#[tokio::test]
async fn a_file_of_something_else_is_reported() {
    let original = original().await;
    for bytes in [b"hello".to_vec(), vec![0; 8192], vec![0xFF; 1 << 20]] {
        assert!(is_reported(&original.copy(), &bytes, &original.tasks, "not a store").await);
    }
}

/// Where the records of `task` begin.
fn records_of(bytes: &[u8], task: &Task) -> Vec<usize> {
    let beginning = format!(r#"{{"id":"{}""#, task.id).into_bytes();
    let is_record = |at: &usize| bytes[at + HEADER_BYTES..].starts_with(&beginning);
    let marks = (0..bytes.len() - HEADER_BYTES).filter(|at| bytes[*at..].starts_with(&MARK));
    marks.filter(is_record).collect()
}

/// Whether `bytes` begin with a record of a task that is whole.
fn is_whole(bytes: &[u8]) -> bool {
    let length = u32::from_le_bytes(bytes[5..9].try_into().unwrap()) as usize;
    bytes.get(..HEADER_BYTES + length).and_then(|record| content_of(Task::KIND, record)).is_some()
}

#[tokio::test]
async fn a_record_damaged_while_the_store_is_open_is_named() {
    let original = original().await;
    let (path, task) = (original.copy(), &original.tasks[5]);
    fs::write(&path, &original.bytes).unwrap();
    let store = Embedded::open(&path).unwrap();
    let now_in_file = fs::read(&path).unwrap();
    let records = records_of(&now_in_file, task);
    assert!(!records.is_empty());
    {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // Still JSON, still this task's, of another source: only the checksum can tell.
        let written = br#""written":"h.example"#;
        for at in records {
            let text = now_in_file[at..].windows(written.len()).position(|bytes| bytes == written).unwrap();
            file.write_all_at(b"i", (at + text + 11) as u64).unwrap();
        }
    }
    // redb's cache still holds what was written; with it full of other pages the file is read.
    let long = |n| LayerRecord { reason: "x".repeat(4000), ..layer(n) };
    for n in 0..30 {
        let layers: Vec<_> = (n * 100..n * 100 + 100).map(|n| (layer_key(100_000 + n), long(n))).collect();
        let remembered = layers.iter().map(|(key, record)| store.remember_layer(key, record, noon()));
        assert!(join_all(remembered).await.iter().all(Result::is_ok));
    }
    let read = store.get(&task.id, noon()).await;
    let named = format!("task {}", task.id);
    assert!(matches!(&read, Err(StoreError::Damaged { what, .. }) if what.contains(&named)), "{read:?}");
}

#[tokio::test]
async fn salvaging_keeps_what_can_be_read() {
    let original = original().await;
    let path = original.copy();
    let mut bytes = original.bytes.clone();
    let lost = &original.tasks[7];
    for at in records_of(&original.bytes, lost) {
        bytes[at + HEADER_BYTES + 60] ^= 4;
    }
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Embedded::open(&path).map(drop), Err(StoreError::Damaged { .. })));
    let salvaged = Embedded::salvage(&path).unwrap();
    assert_eq!((salvaged.kept, salvaged.lost, salvaged.layers), (11, 1, 12));
    assert_eq!(salvaged.set_aside, original.directory.path().join("copy.redb.damaged-1"));
    assert_eq!(fs::read(&salvaged.set_aside).unwrap(), bytes);

    let store = Embedded::open(&path).unwrap();
    for (n, task) in (0..).zip(&original.tasks) {
        let kept = store.get(&task.id, noon()).await.unwrap();
        assert_eq!(kept.as_ref(), Some(task).filter(|task| task.id != lost.id));
        assert_eq!(store.find_layer(&layer_key(n), noon()).await.unwrap(), Some(layer(n)));
    }
    let mut sent = Vec::new();
    while let Some(received) = store.receive(Duration::ZERO, Duration::from_secs(60)).await.unwrap() {
        sent.push(received.message.task);
    }
    sent.sort();
    let live = original.tasks.iter().filter(|task| task.state.is_live() && task.id != lost.id);
    assert_eq!(sent, live.map(|task| task.id.clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn salvaging_works_on_any_ruin() {
    let original = original().await;
    let path = original.copy();
    let half = &original.bytes[..original.bytes.len() / 2];
    let is_in_half = |task: &&Task| records_of(half, task).iter().any(|at| is_whole(&half[*at..]));
    let in_half = original.tasks.iter().filter(is_in_half).count();
    let ruins = [
        (half.to_vec(), in_half),
        ([vec![0; 4096], original.bytes[4096..].to_vec()].concat(), 12),
        (vec![], 0),
        (b"hello".to_vec(), 0),
        ([&MARK[..], &[0xFF; 4]].concat(), 0),
    ];
    for (n, (ruin, expected)) in (1..).zip(ruins) {
        fs::write(&path, &ruin).unwrap();
        let salvaged = Embedded::salvage(&path).unwrap();
        assert_eq!(salvaged.kept, expected, "ruin {n}");
        assert!(salvaged.set_aside.ends_with(format!("copy.redb.damaged-{n}")));
        let store = Embedded::open(&path).unwrap();
        let listed = store.list(&ListQuery::default(), noon()).await.unwrap().tasks;
        assert_eq!(listed.len(), salvaged.kept);
        drop(store);
        fs::remove_file(&path).unwrap();
    }
    assert!(matches!(Embedded::salvage(&path), Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn salvaging_leaves_a_delivery_to_its_latest_task() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let ended = |n, hours: u64| {
        let created = noon() + std::time::Duration::from_secs(3600 * hours);
        let task = nth(n, created);
        Task {
            state: accel_domain::task::State::Failed,
            expires: Some(created + std::time::Duration::from_secs(1800)),
            delivery: Some("one and the same".to_owned()),
            ..task
        }
    };
    let (older, latest) = (ended(1, 0), ended(2, 1));
    {
        let store = Embedded::open(&path).unwrap();
        for task in [&older, &latest] {
            assert_eq!(store.admit(task).await.unwrap(), Admission::Created);
        }
    }
    assert_eq!(Embedded::salvage(&path).unwrap().kept, 2);
    let store = Embedded::open(&path).unwrap();
    let again = Task { created: latest.created, ..ended(3, 1) };
    match store.admit(&again).await.unwrap() {
        Admission::Joined(task) => assert_eq!(task.id, latest.id),
        Admission::Created => panic!("the delivery of {} is forgotten", latest.id),
    }
}
