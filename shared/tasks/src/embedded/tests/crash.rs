//! A process that is killed in the middle of its writes has lost none that it acknowledged.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use futures::StreamExt;
use futures::future::join_all;

use super::*;

/// In the child: the store to write to. The parent's number of the child follows in [`ROUND`].
const STORE: &str = "ACCEL_TEST_CRASH_STORE";
const ROUND: &str = "ACCEL_TEST_CRASH_ROUND";
const KILLS: u64 = 30;
const WRITERS: u64 = 8;

/// What the child says of a task, once the write has returned.
const ADMITTED: char = 'A';
const ENDED: char = 'F';

#[test]
fn every_acknowledged_write_survives_a_kill() {
    if let Some(path) = std::env::var_os(STORE) {
        write_until_killed(path);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accel.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut acknowledged: HashMap<u64, char> = HashMap::new();
    for round in 0..KILLS {
        // Never the same place twice: in the first commits, later ones, between lines, inside one.
        let lines = 1 + (round * 37) % 211;
        let told = killed_after(lines, round, &path).into_iter().collect();
        runtime.block_on(assert_all_there(&path, &told));
        acknowledged.extend(told);
    }
    assert!(acknowledged.values().filter(|last| **last == ENDED).count() > 100);
    runtime.block_on(assert_all_there(&path, &acknowledged));
    runtime.block_on(assert_all_sent(&path, &acknowledged));
}

/// Runs a child until it has acknowledged so many writes, and kills it: the last write of each task it told of.
fn killed_after(lines: u64, round: u64, path: &Path) -> Vec<(u64, char)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::crash::every_acknowledged_write_survives_a_kill", "--nocapture"])
        .env(STORE, path)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told = told.filter_map(|line| {
        let (kind, n) = line.strip_prefix("wrote ")?.split_once(' ')?;
        Some((n.parse().ok()?, kind.chars().next()?))
    });
    let mut writes: Vec<(u64, char)> = told.by_ref().take(usize::try_from(lines).unwrap()).collect();
    child.kill().unwrap();
    // What it told before the kill reached it counts too.
    writes.extend(told);
    assert!(!child.wait().unwrap().success());
    assert!(writes.len() as u64 >= lines, "the child ended by itself after {} writes", writes.len());
    writes
}

async fn assert_all_there(path: &Path, acknowledged: &HashMap<u64, char>) {
    let store = Embedded::open(path).unwrap();
    let checks = acknowledged.iter().map(|(n, last)| assert_there(&store, *n, *last));
    futures::stream::iter(checks).buffer_unordered(64).collect::<()>().await;
}

async fn assert_there(store: &Embedded, n: u64, last: char) {
    let task = store.get(&nth_id(n), noon()).await.unwrap();
    let task = task.unwrap_or_else(|| panic!("task {n} was acknowledged and is lost"));
    assert_eq!(task.written, nth(n, noon()).written);
    let again = store.admit(&Task { id: nth_id(1 << 40 | n), ..nth(n, noon()) }).await.unwrap();
    assert_eq!(again.task(&task).id, task.id, "its delivery is known");
    if last == ENDED {
        assert!(task.finished.is_some(), "the end of task {n} was acknowledged and is lost");
        assert_eq!(store.find_layer(&layer_key(n), noon()).await.unwrap(), Some(layer(n)));
    }
}

/// Nobody has received a message, so all that were sent are there.
async fn assert_all_sent(path: &Path, acknowledged: &HashMap<u64, char>) {
    let store = Embedded::open(path).unwrap();
    let mut received = HashSet::new();
    loop {
        let some = join_all((0..64).map(|_| store.receive(Duration::ZERO, Duration::from_secs(3600)))).await;
        let before = received.len();
        received.extend(some.into_iter().filter_map(Result::unwrap).map(|received| received.message.task));
        if received.len() == before {
            break;
        }
    }
    for n in acknowledged.iter().filter(|(_, last)| **last == ENDED).map(|(n, _)| *n) {
        assert!(received.contains(&nth_id(n)), "the message of task {n} was acknowledged and is lost");
    }
}

/// Admits, sends, remembers a layer, and ends tasks of its own numbers, telling each write once it returned.
fn write_until_killed(path: OsString) {
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(path).unwrap();
        join_all((0..WRITERS).map(|writer| write_forever(&store, round * 1_000_000 + writer))).await;
    });
}

async fn write_forever(store: &Embedded, first: u64) {
    let policy = RetryPolicy::default();
    let tell = |kind: char, n: u64| {
        let mut out = std::io::stdout().lock();
        // The parent closes the pipe only after the kill.
        writeln!(out, "\nwrote {kind} {n}").and_then(|()| out.flush()).unwrap();
    };
    for n in (first..).step_by(usize::try_from(WRITERS).unwrap()) {
        let task = nth(n, noon());
        assert_eq!(store.admit(&task).await.unwrap(), Admission::Created);
        tell(ADMITTED, n);
        store.send(&Message::from(&task), Duration::ZERO).await.unwrap();
        store.remember_layer(&layer_key(n), &layer(n), noon()).await.unwrap();
        let end = |task: &mut Task| {
            task.start(1, "owner", &policy, noon());
            Ok(task.fail("owner", 1, "no such image", &policy, noon())?)
        };
        store.update(&task.id, noon(), end).await.unwrap();
        tell(ENDED, n);
    }
}
