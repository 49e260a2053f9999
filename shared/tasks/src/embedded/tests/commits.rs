//! Commits are shared: many writers do not wait for a disk each.

use std::sync::{Arc, Condvar, Mutex};

use futures::future::join_all;
use redb::{Database, StorageBackend};

use super::super::file::StoreFile;
use super::*;

/// Writers at once.
const WRITERS: u64 = 64;
/// What takes longer than this hangs.
const HUNG: Duration = Duration::from_secs(60);

/// A disk that counts the syncs that it is asked for, and holds them while it is told to.
#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    syncs: usize,
    holds: bool,
}

impl Disk {
    fn sync(&self) {
        let mut state = self.state.lock().unwrap();
        state.syncs += 1;
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, HUNG, |state| state.holds).unwrap());
    }

    fn syncs(&self) -> usize {
        self.state.lock().unwrap().syncs
    }

    fn hold(&self, holds: bool) {
        self.state.lock().unwrap().holds = holds;
        self.changed.notify_all();
    }

    /// Waits for one more sync than `before`.
    fn await_sync_after(&self, before: usize) {
        let state = self.state.lock().unwrap();
        let (_state, waited) = self.changed.wait_timeout_while(state, HUNG, |state| state.syncs == before).unwrap();
        assert!(!waited.timed_out(), "nothing is written");
    }
}

#[derive(Debug)]
struct OnDisk(redb::backends::FileBackend, Arc<Disk>);

impl StorageBackend for OnDisk {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.1.sync();
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), std::io::Error> {
        self.0.close()
    }
}

fn on(disk: &Arc<Disk>, path: &Path) -> Embedded {
    drop(Embedded::open(path).unwrap());
    let disk = Arc::clone(disk);
    let opener = move |path: &Path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).map_err(redb::StorageError::Io)?;
        let file = redb::backends::FileBackend::new(file)?;
        Database::builder().create_with_backend(OnDisk(file, Arc::clone(&disk)))
    };
    Embedded::start(StoreFile::open_with(path, Box::new(opener)).unwrap(), Clock::system()).unwrap()
}

#[tokio::test]
async fn what_arrives_during_a_commit_shares_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let store = on(&disk, &directory.path().join("accel.redb"));
    let tasks: Vec<Task> = (0..=WRITERS).map(|n| nth(n, noon())).collect();

    let before = disk.syncs();
    store.admit(&nth(1 << 40, noon())).await.unwrap();
    let of_one = disk.syncs() - before;
    assert!(of_one > 0, "a write that is answered is on the disk");

    let before = disk.syncs();
    disk.hold(true);
    let mut writing: Vec<_> = tasks.iter().map(|task| Box::pin(store.admit(task))).collect();
    assert!(futures::poll!(&mut writing[0]).is_pending());
    disk.await_sync_after(before);
    for writing in &mut writing[1..] {
        assert!(futures::poll!(writing).is_pending());
    }
    disk.hold(false);
    let written = join_all(writing).await;
    assert!(written.iter().all(|admission| matches!(admission, Ok(Admission::Created))), "{written:?}");
    let syncs = disk.syncs() - before;
    assert!(
        syncs <= 2 * of_one,
        "one commit of the first and one of {WRITERS}, not {syncs} syncs of {of_one} a commit"
    );
}
