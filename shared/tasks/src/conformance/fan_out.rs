//! A task whose layers are converted by messages of their own: the set of its finished units, and the assembly.

use std::collections::BTreeSet;
use std::time::Duration;

use accel_domain::task::{LEASE, Next, Phase, Progress, Refused, Renewal, Start, State, Status, Task, TaskId, UnitKey};
use accel_domain::{Retry, Timestamp};
use futures::future::join_all;

use super::{
    Fixture, MINUTE, admit, created, digest, end_unit, fanned_out, later, lease_end, policy, push, push_of_own, read,
    renew, start, start_time, swept, unit_key,
};
use crate::{Admission, ListQuery, Message, StoreError, TaskQueue, TaskStore, fail_unit, renew_unit, start_unit};

fn converted() -> Progress {
    Progress { layers_converted: 1, bytes_read: 10, bytes_written: 7, ..Progress::default() }
}

/// Whoever runs the unit says that it is finished: whether it was the last one.
async fn finish(store: &impl TaskStore, key: &UnitKey, now: Timestamp) -> Result<bool, StoreError> {
    let finish = |task: &mut Task| Ok(task.finish_unit(key.generation, key.layer, converted(), now)?);
    store.update(&key.task, now, finish).await.map(|(_, last)| last)
}

fn is_not_waiting(outcome: &Result<bool, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Refused(Refused::NotWaiting)))
}

async fn is_void(f: &impl Fixture, key: &UnitKey, now: Timestamp) -> bool {
    start_unit(f.tasks(), key, "another", &policy(), now).await.unwrap().is_none()
}

pub async fn a_task_fans_out_in_one_write_that_frees_its_lease(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
    let before = read(f.tasks(), &id).await;
    let units = BTreeSet::from(["x", "y"].map(digest));
    let fan_out = |task: &mut Task| Ok(task.fan_out("a", 1, units.clone(), &policy(), now)?);
    let (_, next) = f.tasks().update(&id, now, fan_out).await.unwrap();
    assert_eq!(next, Next::Units);
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.revision, task.state, task.work.lease.clone()), (before.revision + 1, State::FannedOut, None));
    let awaited: BTreeSet<_> = task.units().into_iter().map(|unit| unit.key.layer).collect();
    assert_eq!(awaited, units);
    assert_eq!(f.tasks().unit(&unit_key(&id, "x")).await.unwrap(), None, "nothing else had to be written");
}

pub async fn a_fanned_out_task_is_live_and_shown_as_processing(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    let again = admit(f.tasks(), push("b"), now).await;
    assert!(matches!(&again, Admission::Joined(task) if task.id == id), "{again:?}");
    let query = ListQuery { status: Some(Status::Processing), ..ListQuery::default() };
    let listed = f.tasks().list(&query, now).await.unwrap().tasks;
    assert_eq!(listed.iter().map(|task| (&task.id, task.phase)).collect::<Vec<_>>(), [(&id, Phase::Convert)]);
}

pub async fn a_layer_message_is_received_as_it_was_sent(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    let unit = &read(f.tasks(), &id).await.units()[0];
    crate::enqueue_unit(f.tasks(), f.queue(), unit, Duration::ZERO, now).await.unwrap();
    let received = f.queue().receive(MINUTE, MINUTE).await.unwrap().unwrap();
    let expected = Message { task: id.clone(), generation: 1, part: 0, layer: Some(digest("x")) };
    assert_eq!((received.message.unit(), &received.message), (Some(unit_key(&id, "x")), &expected));
}

pub async fn the_tasks_own_message_is_void_while_its_units_are_done(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    let before = read(f.tasks(), &id).await;
    assert_eq!(start(f.tasks(), &id, "b", later(now, LEASE)).await, Start::Void);
    assert_eq!(read(f.tasks(), &id).await, before);
}

pub async fn a_finished_unit_is_in_the_set_and_in_the_progress_of_its_task(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x", "y"], now).await;
    assert!(!finish(f.tasks(), &unit_key(&id, "x"), now).await.unwrap());
    let task = read(f.tasks(), &id).await;
    assert_eq!(task.fan_out.as_ref().unwrap().finished, [digest("x")].into());
    assert_eq!((task.progress.layers_done(), task.progress.bytes_read, task.progress.bytes_written), (1, 10, 7));
}

pub async fn adding_a_finished_unit_again_changes_nothing(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x", "y"], now).await;
    finish(f.tasks(), &unit_key(&id, "x"), now).await.unwrap();
    let before = read(f.tasks(), &id).await;
    let again = finish(f.tasks(), &unit_key(&id, "x"), now).await;
    assert!(is_not_waiting(&again), "{again:?}");
    assert_eq!(read(f.tasks(), &id).await, before);
}

pub async fn a_message_of_a_finished_unit_is_void(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x", "y"], now).await;
    assert!(!is_void(f, &unit_key(&id, "x"), now).await);
    finish(f.tasks(), &unit_key(&id, "x"), now).await.unwrap();
    assert!(is_void(f, &unit_key(&id, "x"), later(now, LEASE)).await);
    assert!(is_void(f, &unit_key(&id, "no unit"), now).await);
    assert!(!is_void(f, &unit_key(&id, "y"), now).await);
}

pub async fn units_that_finish_at_once_are_all_in_the_set_and_the_last_one_sends_the_assembly(f: &impl Fixture) {
    let now = start_time();
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = fanned_out(f.tasks(), push("a"), &names, now).await;
    let keys: Vec<UnitKey> = names.iter().map(|name| unit_key(&id, name)).collect();
    // Each twice, as a queue may deliver it.
    let outcomes = join_all(keys.iter().chain(&keys).map(|key| finish(f.tasks(), key, now))).await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(true))).count(), 1, "one saw it complete");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 20);
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.progress.layers_converted), (State::Queued, 20));
    assert_eq!(Message::from(&task), Message { task: id, generation: 1, part: 1, layer: None });
}

pub async fn the_assembly_takes_the_tasks_lease(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    assert!(finish(f.tasks(), &unit_key(&id, "x"), now).await.unwrap());
    assert_eq!(start(f.tasks(), &id, "b", now).await, Start::Run);
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, lease_end(&task)), (State::Running, Some(later(now, LEASE))));
    assert!(task.fan_out.as_ref().unwrap().is_complete());
    // A duplicate of its message, and one of a unit, change nothing.
    assert!(matches!(start(f.tasks(), &id, "c", now).await, Start::Later(_)));
    assert!(is_void(f, &unit_key(&id, "x"), now).await);
    assert_eq!(renew(f.tasks(), &id, "b", 1, now).await.unwrap(), Renewal::Held);
}

pub async fn a_permanent_error_of_a_unit_fails_the_task_and_voids_its_other_units(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x", "y"], now).await;
    let running = start_unit(f.tasks(), &unit_key(&id, "y"), "b", &policy(), now).await.unwrap().unwrap();
    let failed = fail_unit(f.tasks(), &unit_key(&id, "x"), "damaged", &policy(), now).await.unwrap().unwrap();
    assert_eq!((failed.state, failed.reason.as_str(), failed.finished), (State::Failed, "damaged", Some(now)));
    assert_eq!(read(f.tasks(), &id).await, failed);
    let renewed = renew_unit(f.tasks(), &running.unit, "b", now).await;
    assert!(matches!(renewed, Err(StoreError::Refused(Refused::Ended))), "{renewed:?}");
    let late = later(now, LEASE);
    assert!(is_void(f, &unit_key(&id, "y"), late).await);
    assert_eq!(fail_unit(f.tasks(), &unit_key(&id, "y"), "late", &policy(), late).await.unwrap(), None);
    assert!(finish(f.tasks(), &unit_key(&id, "y"), late).await.is_err());
    assert_eq!(read(f.tasks(), &id).await, failed);
}

pub async fn a_finished_unit_does_not_fail_its_task(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x", "y"], now).await;
    finish(f.tasks(), &unit_key(&id, "x"), now).await.unwrap();
    // Another delivery of the same message ended otherwise.
    assert_eq!(fail_unit(f.tasks(), &unit_key(&id, "x"), "late", &policy(), now).await.unwrap(), None);
    assert_eq!(read(f.tasks(), &id).await.state, State::FannedOut);
}

pub async fn a_fanned_out_task_is_cancelled_at_once_and_its_units_stop(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    let running = start_unit(f.tasks(), &unit_key(&id, "x"), "b", &policy(), now).await.unwrap().unwrap();
    assert_eq!(renew_unit(f.tasks(), &running.unit, "b", now).await.unwrap(), Renewal::Held);
    f.tasks().update(&id, now, |task| Ok(task.cancel(&policy(), now)?)).await.unwrap();
    assert_eq!(read(f.tasks(), &id).await.state, State::Cancelled);
    assert_eq!(renew_unit(f.tasks(), &running.unit, "b", now).await.unwrap(), Renewal::Cancel);
    assert!(finish(f.tasks(), &unit_key(&id, "x"), now).await.is_err());
    assert!(is_void(f, &unit_key(&id, "x"), later(now, LEASE)).await);
}

pub async fn a_retry_voids_the_units_of_the_generation_before(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    let running = start_unit(f.tasks(), &unit_key(&id, "x"), "b", &policy(), now).await.unwrap().unwrap();
    f.tasks().update(&id, now, |task| Ok(task.retry(now)?)).await.unwrap();
    let renewed = renew_unit(f.tasks(), &running.unit, "b", now).await;
    assert!(matches!(renewed, Err(StoreError::Refused(Refused::NotWaiting))), "{renewed:?}");
    assert!(is_void(f, &unit_key(&id, "x"), later(now, LEASE)).await);
    let late = finish(f.tasks(), &unit_key(&id, "x"), now).await;
    assert!(is_not_waiting(&late), "{late:?}");
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.generation, task.fan_out), (State::Queued, 2, None));
}

pub async fn a_retried_task_fans_out_into_units_of_their_own(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    end_unit(f, &unit_key(&id, "x"), Retry::Backoff, now).await;
    let again = |task: &mut Task| {
        task.retry(now)?;
        assert_eq!(task.start(2, "a", &policy(), now), Start::Run);
        Ok(task.fan_out("a", 2, [digest("x")].into(), &policy(), now)?)
    };
    f.tasks().update(&id, now, again).await.unwrap();
    assert!(is_void(f, &unit_key(&id, "x"), now).await);
    let key = UnitKey { generation: 2, ..unit_key(&id, "x") };
    let started = start_unit(f.tasks(), &key, "b", &policy(), now).await.unwrap().unwrap();
    assert_eq!((started.start, started.unit.work.attempts, started.unit.reason.as_str()), (Start::Run, 0, ""));
}

/// Does what a message asks for, if it is not void: a unit is finished, the task itself fails.
async fn deliver(f: &impl Fixture, id: &TaskId, message: &Message, now: Timestamp) {
    let Some(key) = message.unit() else {
        if start(f.tasks(), id, "a", now).await == Start::Run {
            super::fail(f.tasks(), id, "a", now).await;
        }
        return;
    };
    if start_unit(f.tasks(), &key, "a", &policy(), now).await.unwrap().is_some() {
        finish(f.tasks(), &key, now).await.unwrap();
    }
}

/// Runs whatever waits, a message at a time, each worker dying right after its write; sweeps in between.
async fn until_ended(f: &impl Fixture, id: &TaskId, mut now: Timestamp) -> Task {
    for _ in 0..30 {
        swept(f, 100, now).await;
        while let Some(received) = f.queue().receive(Duration::ZERO, Duration::from_secs(1)).await.unwrap() {
            f.queue().acknowledge(&received.receipt).await.unwrap();
            deliver(f, id, &received.message, now).await;
        }
        let task = read(f.tasks(), id).await;
        if !task.state.is_live() {
            return task;
        }
        now = later(now, 3 * MINUTE);
    }
    panic!("it does not end: {:?}", read(f.tasks(), id).await);
}

pub async fn a_crash_after_each_write_of_a_fan_out_leaves_something_that_the_sweeper_finds(f: &impl Fixture) {
    let now = start_time();
    // After it fanned out; after one of two messages was sent; after a unit was begun; after one was finished; after
    // the last one was.
    for writes in 0..5 {
        let id = fanned_out(f.tasks(), push_of_own(&writes.to_string()), &["x", "y"], now).await;
        let units = read(f.tasks(), &id).await.units();
        if writes > 0 {
            crate::enqueue_unit(f.tasks(), f.queue(), &units[0], Duration::ZERO, now).await.unwrap();
            let received = f.queue().receive(MINUTE, MINUTE).await.unwrap().unwrap();
            f.queue().acknowledge(&received.receipt).await.unwrap();
        }
        if writes > 1 {
            assert!(start_unit(f.tasks(), &units[0].key, "dies", &policy(), now).await.unwrap().is_some());
        } else if writes == 1 {
            // The message was sent, so the queue brings it back.
            f.queue().send(&Message::from(&units[0]), Duration::ZERO).await.unwrap();
        }
        for unit in units.iter().take(writes.max(2) - 2) {
            finish(f.tasks(), &unit.key, now).await.unwrap();
        }
        let task = until_ended(f, &id, now).await;
        assert_eq!((task.state, task.progress.layers_converted), (State::Failed, 2), "by its assembly: {writes}");
        assert_eq!(task.reason, "no such image", "after {writes} writes");
    }
}
