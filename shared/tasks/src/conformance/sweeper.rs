//! What the sweeper sends again, what it fails, and what it leaves alone.

use std::collections::BTreeSet;
use std::time::Duration;

use accel_domain::task::{LEASE, Start, State, Sweep, Task, TaskId};
use accel_domain::{Retry, Timestamp};

use super::{
    DAY, Fixture, HOUR, MINUTE, created, later, policy, push, push_of_own, read, run_and_fail, start, start_time, swept,
};
use crate::{Message, Received, StoreError, Swept, TaskQueue, TaskStore, enqueue, sweep};

async fn due(f: &impl Fixture, now: Timestamp) -> Vec<(TaskId, Option<Sweep>)> {
    let tasks = f.tasks().to_sweep(&policy(), 100, now).await.unwrap();
    tasks.into_iter().map(|task| (task.id.clone(), task.sweep(&policy(), now))).collect()
}

async fn send(f: &impl Fixture, id: &TaskId, now: Timestamp) {
    let task = read(f.tasks(), id).await;
    enqueue(f.tasks(), f.queue(), &task, Duration::ZERO, now).await.unwrap();
}

async fn end_transiently(f: &impl Fixture, id: &TaskId, retry: Retry, now: Timestamp) {
    assert_eq!(start(f.tasks(), id, "a", now).await, Start::Run);
    let end = |task: &mut Task| Ok(task.retry_later("a", 1, retry, "the last reason", &policy(), now)?);
    f.tasks().update(id, now, end).await.unwrap();
}

pub async fn a_task_never_enqueued_is_sent_after_two_minutes(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    assert_eq!(due(f, later(now, Duration::from_secs(119))).await, []);
    let after = later(now, Duration::from_secs(120));
    assert_eq!(due(f, after).await, [(id.clone(), Some(Sweep::Enqueue))]);
    assert_eq!(swept(f, 100, after).await, Swept { enqueued: 1, failed: 0 });
    assert_eq!(read(f.tasks(), &id).await.work.enqueued_at, Some(after));
    assert_eq!(due(f, later(after, MINUTE)).await, []);
}

pub async fn a_task_that_was_enqueued_is_left_alone_however_old(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    send(f, &id, now).await;
    assert_eq!(due(f, later(now, 3 * DAY)).await, []);
}

pub async fn a_task_is_sent_when_its_wait_is_over(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    end_transiently(f, &id, Retry::Throttled { after: Some(2 * HOUR) }, now).await;
    assert_eq!(due(f, later(now, HOUR)).await, []);
    let after = later(now, 2 * HOUR);
    assert_eq!(due(f, after).await, [(id.clone(), Some(Sweep::Enqueue))]);
    send(f, &id, after).await;
    assert_eq!(due(f, later(after, HOUR)).await, []);
}

pub async fn a_task_whose_lease_expired_is_sent_once(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    send(f, &id, now).await;
    start(f.tasks(), &id, "a", now).await;
    assert_eq!(due(f, later(now, Duration::from_secs(59))).await, []);
    let after = later(now, LEASE);
    assert_eq!(due(f, after).await, [(id.clone(), Some(Sweep::Enqueue))]);
    send(f, &id, after).await;
    assert_eq!(due(f, later(after, HOUR)).await, []);
}

pub async fn a_task_older_than_the_queues_retention_is_sent_again(f: &impl Fixture) {
    let now = start_time();
    let retention = policy().queue_retention;
    let queued = created(f.tasks(), push_of_own("queued"), now).await;
    send(f, &queued, now).await;
    let waiting = created(f.tasks(), push_of_own("waiting"), now).await;
    end_transiently(f, &waiting, Retry::Backoff, now).await;
    send(f, &waiting, now).await;
    let leased = created(f.tasks(), push_of_own("leased"), now).await;
    start(f.tasks(), &leased, "a", now).await;
    send(f, &leased, later(now, LEASE)).await;
    assert_eq!(due(f, later(now, retention - MINUTE)).await, []);
    let mut found = due(f, later(now, retention + MINUTE)).await;
    let mut expected = [queued, waiting, leased].map(|id| (id, Some(Sweep::Enqueue)));
    found.sort_by_key(|(id, _)| id.clone());
    expected.sort_by_key(|(id, _)| id.clone());
    assert_eq!(found, expected);
}

/// A task whose fifth attempt runs and will not be heard of again, and when that began.
async fn out_of_attempts(f: &impl Fixture, name: &str) -> (TaskId, Timestamp) {
    let mut now = start_time();
    let id = created(f.tasks(), push_of_own(name), now).await;
    for _ in 0..4 {
        end_transiently(f, &id, Retry::Backoff, now).await;
        now = later(now, HOUR);
    }
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
    (id, now)
}

pub async fn a_task_out_of_attempts_is_failed_with_the_last_reason(f: &impl Fixture) {
    let (id, began) = out_of_attempts(f, "a").await;
    assert_eq!(due(f, began).await, []);
    let now = later(began, LEASE);
    assert_eq!(due(f, now).await, [(id.clone(), Some(Sweep::Fail))]);
    assert_eq!(swept(f, 100, now).await, Swept { enqueued: 0, failed: 1 });
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.work.attempts, task.reason.as_str()), (State::Failed, 5, "the last reason"));
}

/// Takes no message.
struct Closed;

impl TaskQueue for Closed {
    async fn send(&self, _: &Message, _: Duration) -> Result<(), StoreError> {
        Err(StoreError::Unavailable("closed".to_owned()))
    }

    async fn receive(&self, _: Duration, _: Duration) -> Result<Option<Received>, StoreError> {
        Ok(None)
    }

    async fn acknowledge(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn keep(&self, _: &str, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

pub async fn a_round_with_an_error_tells_of_every_task_that_it_has_failed(f: &impl Fixture) {
    // So many of each that, in whatever order they come, one to be failed comes behind one that cannot be sent.
    let (mut failed, mut now) = (BTreeSet::new(), start_time());
    for n in 0..5 {
        let (id, began) = out_of_attempts(f, &format!("failed {n}")).await;
        failed.insert(id);
        now = later(began, LEASE);
        created(f.tasks(), push_of_own(&format!("unsent {n}")), start_time()).await;
    }
    let mut ended = BTreeSet::new();
    let round = sweep(f.tasks(), &Closed, &policy(), 100, now, |task| assert!(ended.insert(task.id.clone()))).await;
    assert!(matches!(round, Err(StoreError::Unavailable(_))), "{round:?}");
    assert_eq!(ended, failed);
    for id in &failed {
        assert_eq!(read(f.tasks(), id).await.state, State::Failed);
    }
}

pub async fn a_running_task_and_an_ended_one_are_left_alone(f: &impl Fixture) {
    let now = start_time();
    let running = created(f.tasks(), push_of_own("running"), now).await;
    start(f.tasks(), &running, "a", now).await;
    let ended = created(f.tasks(), push_of_own("ended"), now).await;
    run_and_fail(f.tasks(), &ended, now).await;
    assert_eq!(due(f, later(now, Duration::from_secs(30))).await, []);
    assert_eq!(due(f, later(now, LEASE)).await, [(running, Some(Sweep::Enqueue))]);
}

pub async fn at_most_so_many_tasks_are_swept_at_once(f: &impl Fixture) {
    let now = start_time();
    for n in 0..5 {
        let id = created(f.tasks(), push_of_own(&n.to_string()), now).await;
        // Tasks with nothing to do must not use up the limit.
        if n < 2 {
            send(f, &id, now).await;
        }
    }
    let after = later(now, HOUR);
    assert_eq!(f.tasks().to_sweep(&policy(), 2, after).await.unwrap().len(), 2);
    assert_eq!(swept(f, 2, after).await.enqueued, 2);
    assert_eq!(swept(f, 2, after).await.enqueued, 1);
    assert_eq!(swept(f, 2, after).await, Swept::default());
}

pub async fn a_task_whose_sender_died_is_run_in_the_end(f: &impl Fixture) {
    let now = later(start_time(), HOUR);
    let id = created(f.tasks(), push("a"), start_time()).await;
    swept(f, 100, now).await;
    let received = f.queue().receive(Duration::from_secs(5), MINUTE).await.unwrap().unwrap();
    assert_eq!(received.message, Message { task: id.clone(), generation: 1, part: 0, layer: None });
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
}
