//! Units: their leases, their attempts, and what the sweeper does for them.

use std::time::Duration;

use accel_domain::task::{LEASE, LEASE_RENEWAL, LONGEST_DELAY, Next, Refused, Start, State, Sweep, Unit, UnitKey};
use accel_domain::{Retry, Timestamp};
use futures::future::join_all;

use super::{
    DAY, Fixture, HOUR, MINUTE, digest, end_unit, fanned_out, later, lease_end, policy, push, push_of_own, read, start,
    start_time, swept, unit_key,
};
use crate::{StoreError, Swept, TaskStore, enqueue_unit, renew_unit, start_unit};

/// A task that waits for the units `x` and `y`: their keys.
async fn two(f: &impl Fixture, now: Timestamp) -> [UnitKey; 2] {
    let id = fanned_out(f.tasks(), push("a"), &["x", "y"], now).await;
    ["x", "y"].map(|name| unit_key(&id, name))
}

/// `owner` receives a message of the unit.
async fn begin(f: &impl Fixture, key: &UnitKey, owner: &str, now: Timestamp) -> (Unit, Start) {
    let begun = start_unit(f.tasks(), key, owner, &policy(), now).await.unwrap().expect("the task waits for it");
    (begun.unit, begun.start)
}

async fn stored(f: &impl Fixture, key: &UnitKey) -> Unit {
    f.tasks().unit(key).await.unwrap().expect("it was written")
}

async fn due(f: &impl Fixture, now: Timestamp) -> Vec<(UnitKey, Option<Sweep>)> {
    let units = f.tasks().units_to_sweep(&policy(), 100, now).await.unwrap();
    units.into_iter().map(|unit| (unit.key.clone(), unit.sweep(&policy(), now))).collect()
}

async fn send(f: &impl Fixture, key: &UnitKey, now: Timestamp) {
    let unit = match f.tasks().unit(key).await.unwrap() {
        Some(unit) => unit,
        None => read(f.tasks(), &key.task).await.unit(key.generation, key.layer).unwrap(),
    };
    enqueue_unit(f.tasks(), f.queue(), &unit, Duration::ZERO, now).await.unwrap();
}

pub async fn a_layer_message_takes_the_lease_of_its_unit_never_the_tasks(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    let before = read(f.tasks(), &x.task).await;
    let (unit, start) = begin(f, &x, "a", now).await;
    assert_eq!((start, &unit), (Start::Run, &stored(f, &x).await));
    assert_eq!(unit.work.lease.as_ref().map(|lease| lease.until), Some(later(now, LEASE)), "the same times");
    assert_eq!(read(f.tasks(), &x.task).await, before);
    assert_eq!(lease_end(&before), None);
    // The other unit is another worker's.
    assert_eq!(begin(f, &y, "b", now).await.1, Start::Run);
}

pub async fn a_lease_of_a_unit_keeps_others_out_for_a_minute(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    begin(f, &x, "a", now).await;
    let soon = later(now, Duration::from_secs(45));
    assert_eq!(begin(f, &x, "b", soon).await.1, Start::Later(Duration::from_secs(15)));
    assert_eq!(begin(f, &x, "b", later(now, LEASE)).await.1, Start::Run);
    assert_eq!(stored(f, &x).await.work.lease.unwrap().owner, "b");
}

pub async fn a_renewal_prolongs_the_lease_of_its_unit(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    let (unit, _) = begin(f, &x, "a", now).await;
    renew_unit(f.tasks(), &unit, "a", later(now, LEASE_RENEWAL)).await.unwrap();
    assert!(matches!(begin(f, &x, "b", later(now, LEASE)).await.1, Start::Later(_)));
}

pub async fn an_owner_that_lost_a_unit_changes_nothing(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    let (unit, _) = begin(f, &x, "a", now).await;
    let late = later(now, LEASE);
    begin(f, &x, "b", late).await;
    let before = stored(f, &x).await;
    let renewed = renew_unit(f.tasks(), &unit, "a", late).await;
    assert!(matches!(renewed, Err(StoreError::Refused(Refused::LeaseLost))), "{renewed:?}");
    let end = |unit: &mut Unit| Ok(unit.retry_later("a", Retry::Backoff, "503", &policy(), late)?);
    let ended = f.tasks().update_unit(&unit, end).await;
    assert!(matches!(ended, Err(StoreError::Refused(Refused::LeaseLost))), "{ended:?}");
    assert_eq!(stored(f, &x).await, before);
}

pub async fn attempts_are_counted_per_unit(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    end_unit(f, &x, Retry::Backoff, now).await;
    let after = later(now, MINUTE);
    assert_eq!(
        (begin(f, &x, "a", after).await.0.work.attempts, begin(f, &y, "a", after).await.0.work.attempts),
        (1, 0)
    );
    assert_eq!(read(f.tasks(), &x.task).await.work.attempts, 0);
}

pub async fn an_expired_lease_uses_an_attempt_of_its_unit(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    begin(f, &x, "a", now).await;
    assert_eq!(begin(f, &x, "b", later(now, LEASE)).await.0.work.attempts, 1);
    assert_eq!(begin(f, &y, "b", later(now, LEASE)).await.0.work.attempts, 0);
    assert_eq!(read(f.tasks(), &x.task).await.work.attempts, 0);
}

pub async fn a_transient_end_of_a_unit_frees_its_lease_and_says_when_in_one_write(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    let (before, _) = begin(f, &x, "a", now).await;
    let end = |unit: &mut Unit| Ok(unit.retry_later("a", Retry::Backoff, "503", &policy(), now)?);
    let (_, next) = f.tasks().update_unit(&before, end).await.unwrap();
    assert_eq!(next, Next::Again(Duration::from_secs(15)));
    let unit = stored(f, &x).await;
    assert_eq!((unit.revision, unit.reason.as_str(), unit.work.attempts), (before.revision + 1, "503", 1));
    assert_eq!((unit.work.lease.as_ref(), unit.work.enqueued_at), (None, None));
    assert_eq!(unit.work.not_before, Some(later(now, Duration::from_secs(15))));
    assert_eq!(begin(f, &x, "a", now).await.1, Start::Later(Duration::from_secs(15)));
}

pub async fn a_unit_held_back_by_its_registry_uses_no_attempt_and_lies_in_the_table(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    assert_eq!(end_unit(f, &x, Retry::Throttled { after: Some(2 * HOUR) }, now).await, Next::Parked);
    assert_eq!(stored(f, &x).await.work.attempts, 0);
    assert_eq!(begin(f, &x, "a", now).await.1, Start::Later(LONGEST_DELAY));
}

pub async fn a_unit_out_of_attempts_fails_its_task_with_the_last_reason(f: &impl Fixture) {
    let mut now = start_time();
    let [x, _] = two(f, now).await;
    for _ in 0..4 {
        assert!(matches!(end_unit(f, &x, Retry::Backoff, now).await, Next::Again(_)));
        now = later(now, HOUR);
    }
    begin(f, &x, "dies", now).await;
    assert_eq!(begin(f, &x, "b", later(now, LEASE)).await.1, Start::OutOfAttempts);
    let task = read(f.tasks(), &x.task).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Failed, "the last reason"));
}

pub async fn two_invocations_in_a_row_that_do_not_finish_a_unit_fail_its_task_with_the_way_out(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    let again = Next::Again(Duration::ZERO);
    for (stalled, expected) in
        [(Some("early"), again), (None, again), (Some("early"), again), (Some("way out"), Next::Ended)]
    {
        let (unit, start) = begin(f, &x, "a", now).await;
        assert_eq!((start, unit.work.attempts), (Start::Run, 0));
        let end = |unit: &mut Unit| Ok(unit.interrupted("a", stalled, &policy(), now)?);
        assert_eq!(f.tasks().update_unit(&unit, end).await.unwrap().1, expected);
    }
    // Whoever wrote that dies before the task has failed.
    swept(f, 100, now).await;
    let task = read(f.tasks(), &x.task).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Failed, "way out"));
}

pub async fn of_many_who_begin_a_unit_one_runs_it(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    let owners: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let begun = join_all(owners.iter().map(|owner| begin(f, &x, owner, now))).await;
    assert_eq!(begun.iter().filter(|(_, start)| *start == Start::Run).count(), 1);
}

pub async fn of_many_writers_of_one_revision_of_a_unit_one_wins(f: &impl Fixture) {
    let now = start_time();
    let [x, _] = two(f, now).await;
    let fresh = read(f.tasks(), &x.task).await.unit(1, x.layer).unwrap();
    for revision in 0..2 {
        let versions: Vec<Unit> = (0..20).map(|n| Unit { reason: n.to_string(), revision, ..fresh.clone() }).collect();
        let outcomes = join_all(versions.iter().map(|version| f.tasks().replace_unit(version))).await;
        let won: Vec<usize> = (0..20).filter(|n| outcomes[*n].is_ok()).collect();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict))).count();
        assert_eq!((won.len(), lost), (1, 19));
        let unit = stored(f, &x).await;
        assert_eq!((unit.reason, unit.revision), (won[0].to_string(), revision + 1));
    }
}

pub async fn a_unit_is_found_only_under_its_exact_key(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    begin(f, &x, "a", now).await;
    let other_task = unit_key(&super::id("another"), "x");
    for other in [y, other_task, UnitKey { generation: 2, ..x.clone() }, UnitKey { layer: digest("z"), ..x }] {
        assert_eq!(f.tasks().unit(&other).await.unwrap(), None, "{other:?}");
    }
}

pub async fn a_unit_never_sent_is_sent_after_two_minutes(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    send(f, &y, now).await;
    assert_eq!(due(f, later(now, Duration::from_secs(119))).await, []);
    let after = later(now, Duration::from_secs(120));
    assert_eq!(due(f, after).await, [(x.clone(), Some(Sweep::Enqueue))]);
    assert_eq!(swept(f, 100, after).await, Swept { enqueued: 1, failed: 0 });
    assert_eq!(stored(f, &x).await.work.enqueued_at, Some(after));
    assert_eq!(due(f, later(after, MINUTE)).await, []);
}

pub async fn a_unit_that_is_finished_leased_or_waits_is_left_alone(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["finished", "leased", "waits"], now).await;
    let finish = |task: &mut super::Task| Ok(task.finish_unit(1, digest("finished"), Default::default(), now)?);
    f.tasks().update(&id, now, finish).await.unwrap();
    let at = later(now, 4 * MINUTE);
    begin(f, &unit_key(&id, "leased"), "a", at).await;
    end_unit(f, &unit_key(&id, "waits"), Retry::Busy { after: MINUTE }, at).await;
    assert_eq!(due(f, later(at, Duration::from_secs(59))).await, []);
    let mut found = due(f, later(at, MINUTE)).await;
    let mut expected = ["leased", "waits"].map(|name| (unit_key(&id, name), Some(Sweep::Enqueue)));
    found.sort_by_key(|(key, _)| key.clone());
    expected.sort_by_key(|(key, _)| key.clone());
    assert_eq!(found, expected);
}

pub async fn a_unit_whose_lease_expired_is_sent_once(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    for key in [&x, &y] {
        send(f, key, now).await;
    }
    begin(f, &x, "a", now).await;
    assert_eq!(due(f, later(now, Duration::from_secs(59))).await, []);
    let after = later(now, LEASE);
    assert_eq!(due(f, after).await, [(x.clone(), Some(Sweep::Enqueue))]);
    send(f, &x, after).await;
    assert_eq!(due(f, later(after, HOUR)).await, []);
}

pub async fn a_unit_older_than_the_queues_retention_is_sent_again(f: &impl Fixture) {
    let now = start_time();
    let id = fanned_out(f.tasks(), push("a"), &["x"], now).await;
    let x = unit_key(&id, "x");
    send(f, &x, now).await;
    let retention = policy().queue_retention;
    assert_eq!(due(f, later(now, retention - MINUTE)).await, []);
    assert_eq!(due(f, later(now, retention)).await, [(x, Some(Sweep::Enqueue))]);
}

pub async fn an_assembly_that_was_never_sent_is_sent(f: &impl Fixture) {
    let now = start_time();
    let [x, y] = two(f, now).await;
    for key in [&x, &y] {
        let finish = |task: &mut super::Task| Ok(task.finish_unit(1, key.layer, Default::default(), now)?);
        f.tasks().update(&key.task, now, finish).await.unwrap();
    }
    assert_eq!(due(f, now).await, []);
    assert_eq!(swept(f, 100, now).await, Swept { enqueued: 1, failed: 0 });
    // Once it was sent, or somebody has the task's lease, it is left alone.
    assert_eq!(swept(f, 100, now).await, Swept::default());
    assert_eq!(start(f.tasks(), &x.task, "a", now).await, Start::Run);
    assert_eq!(swept(f, 100, now).await, Swept::default());
}

pub async fn a_unit_that_nobody_is_left_to_give_up_fails_its_task(f: &impl Fixture) {
    let mut now = start_time();
    let [x, _] = two(f, now).await;
    for _ in 0..5 {
        begin(f, &x, "dies", now).await;
        now = later(now, LEASE);
    }
    let found = due(f, now).await;
    assert!(found.contains(&(x.clone(), Some(Sweep::Fail))), "{found:?}");
    assert_eq!(swept(f, 100, now).await.failed, 1);
    let task = read(f.tasks(), &x.task).await;
    assert_eq!(task.state, State::Failed);
    assert!(task.reason.contains("every attempt"), "{}", task.reason);
    assert_eq!(due(f, later(now, DAY)).await, []);
}

pub async fn at_most_so_many_units_are_swept_at_once(f: &impl Fixture) {
    let now = start_time();
    for task in 0..2 {
        let id = fanned_out(f.tasks(), push_of_own(&task.to_string()), &["w", "x", "y", "z"], now).await;
        // Units with nothing to do must not use up the limit.
        send(f, &unit_key(&id, "w"), now).await;
    }
    let after = later(now, 2 * MINUTE);
    assert_eq!(f.tasks().units_to_sweep(&policy(), 2, after).await.unwrap().len(), 2);
    for expected in [4, 2, 0] {
        assert_eq!(swept(f, 4, after).await.enqueued, expected);
    }
}
