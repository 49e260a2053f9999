//! Commits are shared: many writers do not wait for a disk each.

use std::os::unix::fs::FileExt;
use std::time::Instant;

use futures::future::join_all;

use super::*;

const WRITERS: u64 = 64;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_commits() {
    let directory = tempfile::tempdir().unwrap();
    let sync = sync_time(&directory.path().join("synced"));
    let store = Embedded::open(directory.path().join("accel.redb")).unwrap();
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                assert_eq!(store.admit(&nth(writer * EACH + n, noon())).await.unwrap(), Admission::Created);
            }
        })
    });
    assert!(join_all(writers).await.iter().all(Result::is_ok));
    let took = begun.elapsed();
    let rate = (WRITERS * EACH) as f64 / took.as_secs_f64();
    println!("{rate:.0} admissions/s by {WRITERS} writers; the disk takes {sync:?} for one sync");
    // One after the other, each would wait for at least one sync of its own.
    assert!(took < sync * u32::try_from(WRITERS * EACH).unwrap() || sync < Duration::from_micros(200), "{took:?}");
}
