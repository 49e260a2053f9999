//! How attempts end, and what follows.

use std::time::Duration;

use accel_domain::task::{Done, LONGEST_DELAY, Next, Phase, Progress, RetryPolicy, Sizes, Start, State, Task, TaskId};
use accel_domain::{Retry, Timestamp};

use super::{DAY, Fixture, HOUR, created, digest, later, policy, push, read, start, start_time};
use crate::{StoreError, TaskStore};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs the task and ends the attempt by `retry`.
async fn attempt(store: &impl TaskStore, id: &TaskId, retry: Retry, reason: &str, now: Timestamp) -> Next {
    assert_eq!(start(store, id, "a", now).await, Start::Run);
    let end = |task: &mut Task| Ok(task.retry_later("a", 1, retry, reason, &policy(), now)?);
    store.update(id, now, end).await.unwrap().1
}

pub async fn a_transient_end_frees_the_lease_and_says_when_in_one_write(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    f.tasks()
        .update(&id, now, |task| {
            task.sent(1, 0, now);
            Ok(())
        })
        .await
        .unwrap();
    let before = read(f.tasks(), &id).await;
    let end = |task: &mut Task| Ok(task.retry_later("a", 1, Retry::Backoff, "503", &policy(), now)?);
    f.tasks().update(&id, now, end).await.unwrap();
    let task = read(f.tasks(), &id).await;
    assert_eq!(task.revision, before.revision + 1);
    assert_eq!(
        (task.state, task.work.lease, task.work.attempts, task.reason.as_str()),
        (State::Queued, None, 1, "503")
    );
    assert_eq!((task.work.not_before, task.work.enqueued_at), (Some(later(now, seconds(15))), None));
}

pub async fn the_waits_are_15_s_then_1_5_and_15_min_and_the_fifth_attempt_is_the_last(f: &impl Fixture) {
    let mut now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    for wait in [15, 60, 300, 900] {
        assert_eq!(attempt(f.tasks(), &id, Retry::Backoff, "503", now).await, Next::Again(seconds(wait)));
        now = later(now, seconds(wait));
    }
    assert_eq!(attempt(f.tasks(), &id, Retry::Backoff, "the last reason", now).await, Next::Ended);
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.work.attempts, task.reason.as_str()), (State::Failed, 5, "the last reason"));
}

pub async fn attempts_are_configurable(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    let policy = RetryPolicy { attempts: 1, ..policy() };
    start(f.tasks(), &id, "a", now).await;
    let end = |task: &mut Task| Ok(task.retry_later("a", 1, Retry::Backoff, "503", &policy, now)?);
    assert_eq!(f.tasks().update(&id, now, end).await.unwrap().1, Next::Ended);
    assert_eq!(read(f.tasks(), &id).await.state, State::Failed);
}

pub async fn a_wait_over_15_min_lies_in_the_table(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    let retry = Retry::Throttled { after: Some(2 * HOUR) };
    assert_eq!(attempt(f.tasks(), &id, retry, "429", now).await, Next::Parked);
    assert_eq!(read(f.tasks(), &id).await.work.not_before, Some(later(now, 2 * HOUR)));
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Later(LONGEST_DELAY));
}

pub async fn a_task_waits_until_its_time(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    let busy = Retry::Busy { after: seconds(30) };
    assert_eq!(attempt(f.tasks(), &id, busy, "busy", now).await, Next::Again(seconds(30)));
    assert_eq!(start(f.tasks(), &id, "a", later(now, seconds(10))).await, Start::Later(seconds(20)));
    assert_eq!(start(f.tasks(), &id, "a", later(now, seconds(30))).await, Start::Run);
    assert_eq!(read(f.tasks(), &id).await.work.attempts, 0);
}

/// Ends attempts by `retry` until the task has ended: how long that took.
async fn until_given_up(f: &impl Fixture, retry: Retry, first_waits: &[u64]) -> Duration {
    let begun = start_time();
    let mut now = begun;
    let id = created(f.tasks(), push("a"), now).await;
    let mut waits = first_waits.iter();
    loop {
        let next = attempt(f.tasks(), &id, retry, "held back", now).await;
        let task = read(f.tasks(), &id).await;
        assert_eq!(task.work.attempts, 0);
        let Some(due) = task.work.not_before else {
            assert_eq!(next, Next::Ended);
            assert_eq!((task.state, task.reason.as_str()), (State::Failed, "held back"));
            return Duration::try_from(now.duration_since(begun)).unwrap();
        };
        if let Some(expected) = waits.next() {
            assert_eq!(due, later(now, seconds(*expected)));
        }
        now = due;
    }
}

pub async fn throttling_uses_no_attempt_and_ends_after_a_day(f: &impl Fixture) {
    let took = until_given_up(f, Retry::Throttled { after: None }, &[15, 60, 300, 900, 900]).await;
    assert_eq!(took, DAY);
}

pub async fn a_pending_scan_uses_no_attempt_and_ends_after_a_day(f: &impl Fixture) {
    let took = until_given_up(f, Retry::ScanPending, &[120, 300, 900, 3600, 3600]).await;
    assert_eq!(took, DAY);
}

pub async fn an_interruption_uses_no_attempt_and_asks_for_the_next_part(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    for part in 1..10 {
        assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
        let end = |task: &mut Task| Ok(task.interrupted("a", 1, None, &policy(), now)?);
        assert_eq!(f.tasks().update(&id, now, end).await.unwrap().1, Next::Again(Duration::ZERO));
        let task = read(f.tasks(), &id).await;
        assert_eq!((task.state, task.generation, task.work.part, task.work.attempts), (State::Queued, 1, part, 0));
    }
}

pub async fn an_interruption_stores_how_far_the_task_is(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    let progress = Progress { layers_total: 10, layers_converted: 3, bytes_read: 7, ..Progress::default() };
    let end = |task: &mut Task| {
        task.renew("a", 1, (Phase::Convert, progress), now)?;
        Ok(task.interrupted("a", 1, None, &policy(), now)?)
    };
    f.tasks().update(&id, now, end).await.unwrap();
    assert_eq!(read(f.tasks(), &id).await.progress, progress);
}

pub async fn two_invocations_in_a_row_that_finish_nothing_fail_the_task_with_the_way_out(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    let way_out = "layer sha256:1 of 9 GiB: use `accelctl convert`";
    let again = Next::Again(Duration::ZERO);
    for (stalled, expected) in
        [(Some("early"), again), (None, again), (Some("early"), again), (Some(way_out), Next::Ended)]
    {
        assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
        let end = |task: &mut Task| Ok(task.interrupted("a", 1, stalled, &policy(), now)?);
        assert_eq!(f.tasks().update(&id, now, end).await.unwrap().1, expected);
    }
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Failed, way_out));
}

pub async fn a_completed_task_keeps_sizes_digest_and_reason(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    let done = Done {
        state: State::AlreadyAccelerated,
        reason: "already accelerated",
        sizes: Sizes { source: 1 << 40, target: 7 },
        target_digest: Some(digest("target")),
        progress: Progress { layers_total: 3, layers_reused: 3, ..Progress::default() },
    };
    f.tasks().update(&id, now, |task| Ok(task.complete("a", 1, done, &policy(), now)?)).await.unwrap();
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::AlreadyAccelerated, "already accelerated"));
    assert_eq!((task.sizes, task.target_digest, task.progress), (done.sizes, done.target_digest, done.progress));
    assert_eq!((task.work.lease, task.finished, task.expires), (None, Some(now), Some(later(now, DAY))));
    assert_eq!(f.tasks().live(&read(f.tasks(), &id).await.live_key()).await.unwrap(), None);
}

pub async fn a_note_of_an_older_message_does_not_hide_that_the_task_waits(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    attempt(f.tasks(), &id, Retry::ScanPending, "scan", now).await;
    let note = |task: &mut Task| {
        task.sent(1, 0, now);
        Ok::<_, StoreError>(())
    };
    f.tasks().update(&id, now, note).await.unwrap();
    assert_eq!(read(f.tasks(), &id).await.work.enqueued_at, None);
}
