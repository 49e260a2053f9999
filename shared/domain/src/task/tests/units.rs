//! Tasks that fan out, and their units.

use std::collections::BTreeSet;

use super::*;

fn layer(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn units(names: &[&str]) -> BTreeSet<Digest> {
    names.iter().map(|name| layer(name)).collect()
}

fn converted(bytes_read: u64) -> Progress {
    Progress { layers_converted: 1, bytes_read, ..Progress::default() }
}

/// A task that waits for two units.
fn fanned_out() -> Task {
    let mut task = running();
    task.renew(OWNER, 1, layers(0), now()).unwrap();
    assert_eq!(task.fan_out(OWNER, 1, units(&["a", "b"]), &policy(), now()), Ok(Next::Units));
    task
}

fn unit(name: &str) -> Unit {
    fanned_out().unit(1, layer(name)).unwrap()
}

fn begun(name: &str) -> Unit {
    let mut unit = unit(name);
    assert_eq!(unit.start(OWNER, &policy(), now()), Start::Run);
    unit
}

#[test]
fn a_task_that_fans_out_is_live_unleased_and_waits_for_its_units() {
    let task = fanned_out();
    assert_eq!((task.state, task.phase, task.work.lease.as_ref()), (State::FannedOut, Phase::Convert, None));
    assert!(task.state.is_live());
    assert_eq!(Shown::of(&task, now()).status, Status::Processing);
    let waits: BTreeSet<Digest> = task.units().into_iter().map(|unit| unit.key.layer).collect();
    assert_eq!(waits, units(&["a", "b"]));
    for second in [0, 60, 30 * 24 * 3600] {
        assert_eq!(task.sweep(&policy(), at(second)), None, "its units are swept");
    }
}

#[test]
fn a_finished_unit_ends_the_row_of_attempts_that_a_registry_held_back() {
    let mut task = fanned_out();
    let held = Some(Held { since: now(), times: 3 });
    (task.work.throttled, task.work.scanning) = (held, held);
    assert_eq!(task.finish_unit(1, layer("a"), converted(1), now()), Ok(false));
    assert_eq!((task.work.throttled, task.work.scanning), (None, None));
}

#[test]
fn only_the_owner_fans_a_task_out_and_a_cancelled_one_ends() {
    let mut task = running();
    let before = task.clone();
    for (owner, generation) in [("b", 1), (OWNER, 2)] {
        assert_eq!(task.fan_out(owner, generation, units(&["a"]), &policy(), now()), Err(Refused::LeaseLost));
    }
    assert_eq!(task, before);
    task.cancel(&policy(), now()).unwrap();
    assert_eq!(task.fan_out(OWNER, 1, units(&["a"]), &policy(), now()), Ok(Next::Ended));
    assert_eq!((task.state, task.units()), (State::Cancelled, vec![]));
}

#[test]
fn a_task_without_units_is_put_together_at_once() {
    let mut task = running();
    assert_eq!(task.fan_out(OWNER, 1, units(&[]), &policy(), now()), Ok(Next::Again(Duration::ZERO)));
    assert_eq!(task.start(1, "b", &policy(), now()), Start::Run);
}

#[test]
fn the_tasks_own_message_is_void_until_the_last_unit_is_finished() {
    let mut task = fanned_out();
    assert_eq!(task.start(1, "b", &policy(), at(3600)), Start::Void);
    assert_eq!(task.finish_unit(1, layer("a"), converted(10), at(1)), Ok(false));
    assert_eq!(task.start(1, "b", &policy(), at(3600)), Start::Void);
    assert_eq!(task.finish_unit(1, layer("b"), converted(20), at(2)), Ok(true));
    assert_eq!((task.state, task.work.part, task.work.enqueued_at), (State::Queued, 1, None));
    assert_eq!(task.sweep(&policy(), at(2)), Some(Sweep::Enqueue), "whoever saw the last one may have died");
    assert_eq!(task.start(1, "b", &policy(), at(2)), Start::Run);
}

#[test]
fn finished_units_show_in_the_tasks_progress_and_count_once() {
    let mut task = fanned_out();
    task.finish_unit(1, layer("a"), Progress { layers_total: 99, ..converted(10) }, at(1)).unwrap();
    let before = task.clone();
    assert_eq!(task.finish_unit(1, layer("a"), converted(10), at(2)), Err(Refused::NotWaiting));
    assert_eq!(task, before);
    let progress = Progress { layers_total: 10, layers_converted: 1, bytes_read: 10, ..Progress::default() };
    assert_eq!((task.progress, task.layers_finished), (progress, 1));
    assert_eq!(Shown::of(&task, at(3)).progress, 0.1);
}

#[test]
fn what_no_unit_of_the_generation_is_changes_nothing() {
    let ended = {
        let mut task = fanned_out();
        task.cancel(&policy(), now()).unwrap();
        task
    };
    let retried = {
        let mut task = fanned_out();
        task.retry(now()).unwrap();
        task
    };
    let rows = [
        ("another layer", fanned_out(), 1, "c", Refused::NotWaiting),
        ("an older generation", Task { generation: 2, ..fanned_out() }, 1, "a", Refused::NotWaiting),
        ("a task that runs", running(), 1, "a", Refused::NotWaiting),
        ("a task that has ended", ended, 1, "a", Refused::Ended),
        ("a task that was retried", retried, 1, "a", Refused::NotWaiting),
    ];
    for (name, before, generation, of, expected) in rows {
        let mut task = before.clone();
        assert_eq!(task.finish_unit(generation, layer(of), converted(1), now()), Err(expected), "{name}");
        assert_eq!(task.fail_unit(generation, layer(of), "x", &policy(), now()), Err(expected), "{name}");
        assert_eq!(task.unit(generation, layer(of)), None, "{name}");
        assert_eq!(task, before, "{name}");
    }
}

#[test]
fn a_renewal_of_a_unit_hears_what_became_of_its_task() {
    let task = fanned_out();
    assert_eq!(task.unit_renewal(1, layer("a")), Ok(Renewal::Held));
    let mut cancelled = task.clone();
    cancelled.cancel(&policy(), now()).unwrap();
    assert_eq!(cancelled.state, State::Cancelled, "nobody holds its lease");
    assert_eq!(cancelled.unit_renewal(1, layer("a")), Ok(Renewal::Cancel));
    let mut retried = task.clone();
    retried.retry(now()).unwrap();
    assert_eq!(retried.unit_renewal(1, layer("a")), Err(Refused::NotWaiting));
    let mut failed = task;
    failed.fail_unit(1, layer("b"), "damaged", &policy(), now()).unwrap();
    assert_eq!((failed.state, failed.reason.as_str()), (State::Failed, "damaged"));
    assert_eq!(failed.unit_renewal(1, layer("a")), Err(Refused::Ended));
}

#[test]
fn a_retry_forgets_the_units() {
    let mut task = fanned_out();
    task.finish_unit(1, layer("a"), converted(1), at(1)).unwrap();
    task.retry(at(2)).unwrap();
    assert_eq!((task.state, task.generation, task.fan_out.as_ref()), (State::Queued, 2, None));
    assert_eq!((task.progress, task.layers_finished), (Progress::default(), 0));
    assert_eq!(task.start(2, OWNER, &policy(), at(2)), Start::Run);
}

#[test]
fn a_task_with_nothing_left_to_convert_is_put_together_before_its_units_are_finished() {
    let mut task = fanned_out();
    assert_eq!(task.gather(2, at(1)), Err(Refused::NotWaiting));
    task.gather(1, at(1)).unwrap();
    assert_eq!((task.state, task.units()), (State::Queued, vec![]));
    assert_eq!(task.gather(1, at(1)), Err(Refused::NotWaiting), "once");
}

#[test]
fn a_unit_has_a_lease_of_its_own_and_each_that_expires_uses_an_attempt() {
    let mut unit = begun("a");
    assert_eq!(unit.start("b", &policy(), at(59)), Start::Later(seconds(1)));
    unit.renew(OWNER, at(20)).unwrap();
    assert_eq!(unit.renew("b", at(20)), Err(Refused::LeaseLost));
    assert_eq!(unit.start("b", &policy(), at(60)), Start::Later(seconds(20)));
    for attempts in 1..5 {
        assert_eq!(unit.start("b", &policy(), at(80 * i64::from(attempts))), Start::Run);
        assert_eq!(unit.work.attempts, attempts);
    }
    assert_eq!(unit.sweep(&policy(), at(400)), Some(Sweep::Fail));
    assert_eq!(unit.start("b", &policy(), at(400)), Start::OutOfAttempts);
    assert_eq!(unit.sweep(&policy(), at(400)), Some(Sweep::Fail), "whoever saw it may have died");
    let mut task = fanned_out();
    task.fail_unit(1, layer("a"), &unit.reason, &policy(), at(400)).unwrap();
    assert!(task.reason.contains("every attempt was ended from outside"), "{}", task.reason);
}

#[test]
fn a_unit_is_tried_again_as_a_task_is() {
    let mut unit = begun("a");
    for wait in [15, 60, 300, 900] {
        let next = unit.retry_later(OWNER, Retry::Backoff, "503", &policy(), now()).unwrap();
        assert_eq!((next, unit.work.lease.as_ref()), (Next::Again(seconds(wait)), None));
        unit.work.not_before = None;
        assert_eq!(unit.start(OWNER, &policy(), now()), Start::Run);
    }
    assert_eq!(unit.retry_later(OWNER, Retry::Backoff, "the last reason", &policy(), now()), Ok(Next::Ended));
    assert_eq!((unit.reason.as_str(), unit.sweep(&policy(), now())), ("the last reason", Some(Sweep::Fail)));

    let mut held = begun("a");
    let week = seconds(7 * 24 * 3600);
    let next = held.retry_later(OWNER, Retry::Throttled { after: Some(week) }, "429", &policy(), now()).unwrap();
    assert_eq!((next, held.work.attempts), (Next::Parked, 0));
    assert_eq!(held.retry_later(OWNER, Retry::Backoff, "x", &policy(), now()), Err(Refused::LeaseLost));
}

#[test]
fn a_unit_that_stalls_twice_in_a_row_is_given_up_with_the_way_out() {
    let mut unit = begun("a");
    for (stalled, part) in [(Some("early"), 1), (None, 2), (Some("early"), 3)] {
        assert_eq!(unit.interrupted(OWNER, stalled, &policy(), now()), Ok(Next::Again(Duration::ZERO)));
        assert_eq!((unit.work.part, unit.work.attempts), (part, 0));
        assert_eq!(unit.start(OWNER, &policy(), now()), Start::Run);
    }
    assert_eq!(unit.interrupted(OWNER, Some("use accelctl"), &policy(), now()), Ok(Next::Ended));
    assert_eq!((unit.reason.as_str(), unit.sweep(&policy(), now())), ("use accelctl", Some(Sweep::Fail)));
}

#[test]
fn a_unit_is_swept_like_a_task() {
    let sent = |mut unit: Unit, second| {
        unit.sent(unit.work.part, at(second));
        unit
    };
    let mut waiting = begun("a");
    waiting.retry_later(OWNER, Retry::Backoff, "503", &policy(), now()).unwrap();
    let rows = [
        ("never sent", unit("a"), 119, None),
        ("never sent for long", unit("a"), 120, Some(Sweep::Enqueue)),
        ("sent", sent(unit("a"), 0), 3600, None),
        ("runs", begun("a"), 59, None),
        ("died", sent(begun("a"), 0), 60, Some(Sweep::Enqueue)),
        ("waits", waiting.clone(), 14, None),
        ("due", waiting.clone(), 15, Some(Sweep::Enqueue)),
        ("due and sent", sent(waiting, 1), 3600, None),
    ];
    for (name, unit, second, expected) in rows {
        assert_eq!(unit.sweep(&policy(), at(second)), expected, "{name}");
    }
}
