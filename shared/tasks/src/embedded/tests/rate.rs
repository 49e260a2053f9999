//! Commits are shared: many writers do not wait for a disk each.

use std::future::Future;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use futures::StreamExt;

use super::*;
use crate::enqueue;

/// Senders of events at once, and events of each.
const SENDERS: u64 = 64;
const EACH: u64 = 50;

/// How long the file system takes to put 4 KiB on disk.
fn sync_time(path: &Path) -> Duration {
    let file = std::fs::File::create(path).unwrap();
    let begun = Instant::now();
    for n in 0..50 {
        file.write_all_at(&[1; 4096], n * 4096).unwrap();
        file.sync_data().unwrap();
    }
    begun.elapsed() / 50
}

/// Runs `work` for every number below `senders * each`: how many a second.
async fn rate<F: Future<Output = ()> + Send>(
    senders: u64,
    each: u64,
    work: impl Fn(u64) -> F + Clone + Send + 'static,
) -> f64 {
    let begun = Instant::now();
    let running = (0..senders).map(|sender| {
        let work = work.clone();
        let share = async move {
            for n in 0..each {
                work(sender * each + n).await;
            }
        };
        Box::pin(share)
    });
    let mut running = running.collect::<futures::stream::FuturesUnordered<_>>();
    while running.next().await.is_some() {}
    (senders * each) as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_commits() {
    let directory = tempfile::tempdir().unwrap();
    let sync = sync_time(&directory.path().join("synced"));
    let store = Embedded::open(directory.path().join("accel.redb")).unwrap();
    let admitting = store.clone();
    let admissions = rate(SENDERS, EACH, move |n| {
        let store = admitting.clone();
        async move { assert_eq!(store.admit(&nth(n, noon())).await.unwrap(), Admission::Created) }
    })
    .await;
    let events = rate(4 * SENDERS, EACH / 2, move |n| {
        let store = store.clone();
        async move {
            let task = nth(1 << 40 | n, noon());
            assert_eq!(store.admit(&task).await.unwrap(), Admission::Created);
            enqueue(&store, &store, &task, Duration::ZERO, noon()).await.unwrap();
        }
    })
    .await;
    println!("{admissions:.0} admissions/s from {SENDERS} senders, {events:.0} whole events/s from {}", 4 * SENDERS);
    println!("the disk takes {sync:?} for one sync");
    // One after the other, each would wait for two syncs of its own.
    assert!(admissions > 1.0 / (2.0 * sync.as_secs_f64()) || sync < Duration::from_micros(200));
}
