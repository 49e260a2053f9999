//! Who runs a task, until when, and who may stop it.

use std::time::Duration;

use accel_domain::task::{LEASE, LEASE_RENEWAL, Phase, Refused, Renewal, Start, State};

use super::{
    DAY, Fixture, created, fail, later, lease_end, policy, push, read, renew, run_and_fail, start, start_time,
};
use crate::{StoreError, TaskStore};

pub async fn a_lease_keeps_others_out_for_a_minute(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, lease_end(&task)), (State::Running, Some(later(now, LEASE))));
    let soon = later(now, Duration::from_secs(45));
    assert_eq!(start(f.tasks(), &id, "b", soon).await, Start::Later(Duration::from_secs(15)));
    assert_eq!(start(f.tasks(), &id, "b", later(now, LEASE)).await, Start::Run);
    assert_eq!(read(f.tasks(), &id).await.work.lease.unwrap().owner, "b");
}

pub async fn a_renewal_prolongs_the_lease_and_stores_progress(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    let at = later(now, LEASE_RENEWAL);
    assert_eq!(renew(f.tasks(), &id, "a", 3, at).await.unwrap(), Renewal::Held);
    let task = read(f.tasks(), &id).await;
    assert_eq!(lease_end(&task), Some(later(at, LEASE)));
    assert_eq!((task.phase, task.progress.layers_converted), (Phase::Convert, 3));
    assert!(matches!(start(f.tasks(), &id, "b", later(now, LEASE)).await, Start::Later(_)));
}

pub async fn an_owner_that_lost_its_lease_changes_nothing(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    start(f.tasks(), &id, "b", later(now, LEASE)).await;
    let before = read(f.tasks(), &id).await;
    let late = later(now, LEASE);
    let renewed = renew(f.tasks(), &id, "a", 9, late).await;
    assert!(matches!(renewed, Err(StoreError::Refused(Refused::LeaseLost))), "{renewed:?}");
    let tagged = f.tasks().update(&id, late, |task| Ok(task.may_tag("a", 1, late)?)).await;
    assert!(matches!(tagged, Err(StoreError::Refused(Refused::LeaseLost))), "{tagged:?}");
    let failed = f.tasks().update(&id, late, |task| Ok(task.fail("a", 1, "x", &policy(), late)?)).await;
    assert!(matches!(failed, Err(StoreError::Refused(Refused::LeaseLost))), "{failed:?}");
    assert_eq!(read(f.tasks(), &id).await, before);
}

pub async fn an_expired_lease_without_a_finished_layer_uses_an_attempt(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    renew(f.tasks(), &id, "a", 0, now).await.unwrap();
    assert_eq!(start(f.tasks(), &id, "b", later(now, LEASE)).await, Start::Run);
    assert_eq!(read(f.tasks(), &id).await.work.attempts, 1);
}

pub async fn an_expired_lease_with_a_finished_layer_uses_none(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    renew(f.tasks(), &id, "a", 1, now).await.unwrap();
    assert_eq!(start(f.tasks(), &id, "b", later(now, LEASE)).await, Start::Run);
    assert_eq!(read(f.tasks(), &id).await.work.attempts, 0);
}

pub async fn finding_again_what_was_finished_before_is_no_progress(f: &impl Fixture) {
    let mut now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    for (layers, attempts) in [(3, 0), (3, 0), (3, 1), (4, 2), (4, 2), (2, 3)] {
        assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
        assert_eq!(read(f.tasks(), &id).await.work.attempts, attempts, "before {layers}");
        renew(f.tasks(), &id, "a", layers, now).await.unwrap();
        now = later(now, LEASE);
    }
}

pub async fn a_task_out_of_attempts_is_failed_by_the_next_message(f: &impl Fixture) {
    let mut now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    for _ in 0..5 {
        assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Run);
        now = later(now, LEASE);
    }
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::OutOfAttempts);
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.work.attempts, task.finished), (State::Failed, 5, Some(now)));
    assert!(!task.reason.is_empty());
}

pub async fn a_renewal_sees_that_the_task_is_to_be_cancelled(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    f.tasks().update(&id, now, |task| Ok(task.cancel(&policy(), now)?)).await.unwrap();
    assert_eq!(read(f.tasks(), &id).await.state, State::Running);
    assert_eq!(renew(f.tasks(), &id, "a", 1, now).await.unwrap(), Renewal::Cancel);
    let tagged = f.tasks().update(&id, now, |task| Ok(task.may_tag("a", 1, now)?)).await.unwrap();
    assert_eq!(tagged.1, Renewal::Cancel);
    f.tasks().update(&id, now, |task| Ok(task.stopped("a", 1, &policy(), now)?)).await.unwrap();
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.reason.as_str(), task.work.lease), (State::Cancelled, "cancelled", None));
}

pub async fn a_task_that_nobody_runs_is_cancelled_at_once(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    f.tasks().update(&id, now, |task| Ok(task.cancel(&policy(), now)?)).await.unwrap();
    assert_eq!(read(f.tasks(), &id).await.state, State::Cancelled);
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Void);
    let again = f.tasks().update(&id, now, |task| Ok(task.cancel(&policy(), now)?)).await;
    assert!(matches!(again, Err(StoreError::Refused(Refused::Ended))), "{again:?}");
}

pub async fn a_cancelled_task_whose_owner_died_ends_at_the_next_message(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    f.tasks().update(&id, now, |task| Ok(task.cancel(&policy(), now)?)).await.unwrap();
    assert_eq!(start(f.tasks(), &id, "b", later(now, LEASE)).await, Start::Cancelled);
    assert_eq!(read(f.tasks(), &id).await.state, State::Cancelled);
}

pub async fn a_retry_raises_the_generation_and_voids_older_messages(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    run_and_fail(f.tasks(), &id, now).await;
    f.tasks().update(&id, now, |task| Ok(task.retry(now)?)).await.unwrap();
    let task = read(f.tasks(), &id).await;
    assert_eq!((task.state, task.generation, task.work.part, task.work.attempts), (State::Queued, 2, 0, 0));
    assert_eq!((task.finished, task.expires, task.reason.as_str()), (None, None, ""));
    assert_eq!(start(f.tasks(), &id, "a", now).await, Start::Void);
    assert_eq!(read(f.tasks(), &id).await, task);
    let started = f.tasks().update(&id, now, |task| Ok(task.start(2, "a", &policy(), now))).await.unwrap();
    assert_eq!(started.1, Start::Run);
    // It does not expire with its first generation.
    assert!(f.tasks().get(&id, later(now, DAY)).await.unwrap().is_some());
}

pub async fn a_running_task_is_not_retried(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    start(f.tasks(), &id, "a", now).await;
    let retried = f.tasks().update(&id, now, |task| Ok(task.retry(now)?)).await;
    assert!(matches!(retried, Err(StoreError::Refused(Refused::Running))), "{retried:?}");
    fail(f.tasks(), &id, "a", now).await;
    f.tasks().update(&id, now, |task| Ok(task.retry(now)?)).await.unwrap();
}
