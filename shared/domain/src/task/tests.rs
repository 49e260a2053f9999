//! Every transition, case by case.

mod units;

use std::time::Duration;

use accel_image::Digest;

use super::work::CLOCK_SKEW;
use super::*;
use crate::{Format, Retry};

pub(super) const OWNER: &str = "a";

pub(super) fn task(now: Timestamp) -> Task {
    let new = NewTask {
        id: "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap(),
        kind: TaskKind::Convert,
        written: "h.example/p/app:1".to_owned(),
        source: "h.example/p/app:1".parse().unwrap(),
        digest: Some(Digest::of(b"content")),
        target: "h.example/p/app:1-esgz".parse().unwrap(),
        output: Output::new(Format::Estargz.default_options()),
        rule_hash: Digest::of(b"rule"),
        delivery: Some("delivery".to_owned()),
    };
    Task::new(new, now)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn policy() -> RetryPolicy {
    RetryPolicy::default()
}

fn with(mut task: Task, change: impl FnOnce(&mut Work)) -> Task {
    change(&mut task.work);
    task
}

fn running() -> Task {
    let mut task = task(now());
    assert_eq!(task.start(1, OWNER, &policy(), now()), Start::Run);
    task
}

fn ended() -> Task {
    let mut task = running();
    task.fail(OWNER, 1, "no such image", &policy(), now()).unwrap();
    task
}

pub(super) fn done() -> Done {
    Done {
        state: State::Completed,
        reason: "",
        sizes: Sizes { source: 2, target: 1 },
        target_digest: None,
        progress: Progress::default(),
    }
}

fn layers(n: u32) -> (Phase, Progress) {
    (Phase::Convert, Progress { layers_total: 10, layers_converted: n, ..Progress::default() })
}

type Transition = fn(&mut Task, &str, u32) -> Result<(), Refused>;

/// What only the owner of a lease may do.
const OF_THE_OWNER: [(&str, Transition); 9] = [
    ("renew", |task, owner, generation| task.renew(owner, generation, layers(1), now()).map(drop)),
    ("may_tag", |task, owner, generation| task.may_tag(owner, generation, now()).map(drop)),
    ("resolve", |task, owner, generation| task.resolve(owner, generation, Digest::of(b"new"))),
    ("join", |task, owner, generation| task.join(owner, generation, task.id.clone(), &policy(), now())),
    ("complete", |task, owner, generation| task.complete(owner, generation, done(), &policy(), now())),
    ("fail", |task, owner, generation| task.fail(owner, generation, "why", &policy(), now())),
    ("stopped", |task, owner, generation| task.stopped(owner, generation, &policy(), now())),
    ("retry_later", |task, owner, generation| {
        task.retry_later(owner, generation, Retry::Backoff, "why", &policy(), now()).map(drop)
    }),
    ("interrupted", |task, owner, generation| task.interrupted(owner, generation, None, &policy(), now()).map(drop)),
];

#[test]
fn only_the_owner_of_the_lease_acts_and_a_refusal_changes_nothing() {
    let rows = [
        (running(), OWNER, 1, Ok(())),
        (running(), "b", 1, Err(Refused::LeaseLost)),
        (running(), OWNER, 2, Err(Refused::LeaseLost)),
        (task(now()), OWNER, 1, Err(Refused::LeaseLost)),
        (ended(), OWNER, 1, Err(Refused::Ended)),
    ];
    for (before, owner, generation, expected) in rows {
        for (name, transition) in OF_THE_OWNER {
            let mut task = before.clone();
            assert_eq!(transition(&mut task, owner, generation), expected, "{name} of {:?} by {owner}", before.state);
            assert_eq!(task == before, expected.is_err(), "{name}");
        }
    }
}

#[test]
fn a_message_starts_what_waits_for_it() {
    let waiting = with(task(now()), |work| work.not_before = Some(at(7200)));
    let cancelled = Task { cancel_requested: true, ..running() };
    let lease = Lease { owner: "b".into(), until: at(0), progressed: true };
    let progressed = with(running(), |work| (work.attempts, work.lease) = (4, Some(lease)));
    let exhausted = with(running(), |work| work.attempts = 4);
    let rows = [
        ("new", task(now()), 1, 0, Start::Run),
        ("older message", Task { generation: 2, ..task(now()) }, 1, 0, Start::Void),
        ("ended", ended(), 1, 0, Start::Void),
        ("running", running(), 1, 59, Start::Later(seconds(1))),
        ("expired", running(), 1, 60, Start::Run),
        ("waiting long", waiting.clone(), 1, 0, Start::Later(seconds(900))),
        ("waiting", waiting.clone(), 1, 7190, Start::Later(seconds(10))),
        ("waited", waiting, 1, 7200, Start::Run),
        ("cancelled and expired", cancelled, 1, 60, Start::Cancelled),
        ("progressed", progressed, 1, 0, Start::Run),
        ("last attempt died", exhausted, 1, 60, Start::OutOfAttempts),
    ];
    for (name, mut task, generation, second, expected) in rows {
        assert_eq!(task.start(generation, "c", &policy(), at(second)), expected, "{name}");
        let leased_to = task.work.lease.map(|lease| lease.owner);
        assert_eq!(leased_to.as_deref() == Some("c"), expected == Start::Run, "{name}");
    }
}

#[test]
fn cancelling_wins_over_another_attempt() {
    for end in [OF_THE_OWNER[7].1, OF_THE_OWNER[8].1] {
        let mut task = running();
        task.cancel(&policy(), at(1)).unwrap();
        assert_eq!(task.state, State::Running);
        end(&mut task, OWNER, 1).unwrap();
        assert_eq!((task.state, task.work.not_before), (State::Cancelled, None));
    }
}

#[test]
fn throttling_and_scans_have_budgets_of_their_own() {
    let mut task = running();
    let day = 24 * 3600;
    let hold = |task: &mut Task, retry, second| {
        task.work.not_before = None;
        assert_eq!(task.start(1, OWNER, &policy(), at(second)), Start::Run);
        task.retry_later(OWNER, 1, retry, "held", &policy(), at(second)).unwrap()
    };
    task.retry_later(OWNER, 1, Retry::Throttled { after: None }, "held", &policy(), now()).unwrap();
    // The first scan late in the throttled day begins a day of its own, with the first wait.
    assert_eq!(hold(&mut task, Retry::ScanPending, day - 10), Next::Again(seconds(120)));
    let mut throttled = task.clone();
    assert_eq!(hold(&mut throttled, Retry::Throttled { after: None }, day), Next::Ended);
    assert_eq!(hold(&mut task, Retry::ScanPending, day), Next::Again(seconds(300)));
    assert_eq!(hold(&mut task, Retry::ScanPending, 2 * day - 10), Next::Ended);
    assert_eq!((task.work.attempts, task.state), (0, State::Failed));
}

#[test]
fn a_finished_layer_ends_the_row_of_throttled_attempts() {
    let mut task = running();
    task.retry_later(OWNER, 1, Retry::Throttled { after: None }, "429", &policy(), now()).unwrap();
    assert_eq!(task.start(1, OWNER, &policy(), at(15)), Start::Run);
    task.renew(OWNER, 1, layers(1), at(16)).unwrap();
    assert_eq!(task.work.throttled, None);
}

#[test]
fn a_registry_cannot_ask_for_more_than_is_left_nor_for_no_wait() {
    let week = seconds(7 * 24 * 3600);
    for (after, expected) in [(week, policy().held), (Duration::ZERO, seconds(1)), (seconds(40), seconds(40))] {
        let mut task = running();
        task.retry_later(OWNER, 1, Retry::Throttled { after: Some(after) }, "429", &policy(), now()).unwrap();
        assert_eq!(task.work.not_before.unwrap().duration_since(now()), expected.try_into().unwrap());
    }
}

#[test]
fn attempts_and_waits_are_configurable() {
    let policy = RetryPolicy { attempts: 3, waits: vec![seconds(1)], ..policy() };
    let mut task = running();
    for expected in [Next::Again(seconds(1)), Next::Again(seconds(1)), Next::Ended] {
        task.work.not_before = None;
        task.work.lease = Some(Lease { owner: OWNER.into(), until: at(60), progressed: false });
        assert_eq!(task.retry_later(OWNER, 1, Retry::Backoff, "503", &policy, now()), Ok(expected));
    }
    let mut task = running();
    let without = RetryPolicy { waits: vec![], ..policy };
    assert_eq!(task.retry_later(OWNER, 1, Retry::Backoff, "x", &without, now()), Ok(Next::Again(seconds(60))));
}

#[test]
fn a_transient_end_breaks_a_row_of_stalled_invocations() {
    let mut task = running();
    task.interrupted(OWNER, 1, Some("early"), &policy(), now()).unwrap();
    task.start(1, OWNER, &policy(), now());
    task.retry_later(OWNER, 1, Retry::Backoff, "503", &policy(), now()).unwrap();
    task.start(1, OWNER, &policy(), at(15));
    assert_eq!(task.interrupted(OWNER, 1, Some("late"), &policy(), at(15)), Ok(Next::Again(Duration::ZERO)));
}

#[test]
fn a_retry_begins_from_nothing() {
    let mut task = running();
    task.renew(OWNER, 1, layers(4), now()).unwrap();
    task.complete(OWNER, 1, done(), &policy(), now()).unwrap();
    task.retry(at(5)).unwrap();
    let fresh = Task { generation: 2, ..with(self::task(now()), |work| work.not_before = Some(at(5))) };
    assert_eq!(task, fresh);
}

#[test]
fn a_note_that_a_message_was_sent_is_for_that_message() {
    let mut task = task(now());
    task.sent(1, 0, at(1));
    assert_eq!(task.work.enqueued_at, Some(at(1)));
    let mut later = running();
    later.interrupted(OWNER, 1, None, &policy(), at(1)).unwrap();
    for (generation, part) in [(1, 0), (2, 1), (0, 1)] {
        later.sent(generation, part, at(2));
        assert_eq!(later.work.enqueued_at, None, "{generation} {part}");
    }
    later.sent(1, 1, at(2));
    assert_eq!(later.work.enqueued_at, Some(at(2)));
    let mut ended = ended();
    let before = ended.clone();
    ended.sent(1, 0, at(2));
    assert_eq!(ended, before);
}

#[test]
fn the_sweeper_does_what_nobody_else_will() {
    let lease = |until, progressed| Some(Lease { owner: OWNER.into(), until: at(until), progressed });
    let day = 24 * 3600;
    let queued = |not_before: Option<i64>, enqueued_at: Option<i64>| {
        with(task(now()), |work| (work.not_before, work.enqueued_at) = (not_before.map(at), enqueued_at.map(at)))
    };
    let leased = |until, progressed, attempts, enqueued_at: Option<i64>| {
        let (lease, enqueued_at) = (lease(until, progressed), enqueued_at.map(at));
        let work = Work { lease, attempts, enqueued_at, ..Work::default() };
        Task { state: State::Running, work, ..task(now()) }
    };
    let rows = [
        ("just written", queued(None, None), 119, None),
        ("never sent", queued(None, None), 120, Some(Sweep::Enqueue)),
        ("sent", queued(None, Some(0)), 3 * day, None),
        ("lost by the queue", queued(None, Some(0)), 4 * day, Some(Sweep::Enqueue)),
        ("waits", queued(Some(3600), None), 3599, None),
        ("due", queued(Some(3600), None), 3600, Some(Sweep::Enqueue)),
        ("due and sent", queued(Some(3600), Some(10)), 3 * day, None),
        ("due, sent, lost", queued(Some(3600), Some(10)), 4 * day + 3600, Some(Sweep::Enqueue)),
        ("runs", leased(60, false, 4, None), 59, None),
        ("died", leased(60, false, 0, Some(1)), 60, Some(Sweep::Enqueue)),
        ("died, never sent", leased(60, false, 0, None), 60, Some(Sweep::Enqueue)),
        ("died, sent again", leased(60, false, 0, Some(61)), 3 * day, None),
        ("died, sent again, lost", leased(60, false, 0, Some(61)), 4 * day + 61, Some(Sweep::Enqueue)),
        ("died in its last attempt", leased(60, false, 4, Some(1)), 60, Some(Sweep::Fail)),
        ("died after progress", leased(60, true, 4, Some(1)), 60, Some(Sweep::Enqueue)),
        ("ended", ended(), 9 * day, None),
    ];
    for (name, task, second, expected) in rows {
        assert_eq!(task.sweep(&policy(), at(second)), expected, "{name}");
        let mut swept = task.clone();
        let abandoned = swept.abandon(&policy(), at(second));
        assert_eq!(abandoned.is_ok(), expected == Some(Sweep::Fail), "{name}: {abandoned:?}");
        assert_eq!(swept == task, abandoned.is_err(), "{name}");
    }
}

#[test]
fn a_clock_set_back_leaves_nothing_stuck() {
    let years = 10 * 365 * 24 * 3600;
    let back = at(-years);

    // A dead owner's lease is cut to what a lease can be.
    let mut leased = running();
    assert_eq!(leased.sweep(&policy(), back), Some(Sweep::Enqueue));
    assert_eq!(leased.start(1, "b", &policy(), back), Start::Later(LEASE));
    assert_eq!(leased.start(1, "b", &policy(), at(60 - years)), Start::Run);

    // A live owner renews and goes on.
    let mut renewed = running();
    renewed.renew(OWNER, 1, layers(1), back).unwrap();
    assert_eq!((renewed.sweep(&policy(), back), renewed.is_leased(back)), (None, true));

    let mut waiting = with(task(now()), |work| work.not_before = Some(at(10)));
    assert_eq!(waiting.sweep(&policy(), back), Some(Sweep::Enqueue));
    assert_eq!(waiting.start(1, "b", &policy(), back), Start::Run);

    assert_eq!(task(now()).sweep(&policy(), back), Some(Sweep::Enqueue));
    let sent = with(task(now()), |work| work.enqueued_at = Some(now()));
    assert_eq!(sent.sweep(&policy(), back), Some(Sweep::Enqueue));

    // The budget of a registry begins again, and is not longer than it was.
    let mut held = running();
    held.retry_later(OWNER, 1, Retry::ScanPending, "scan", &policy(), now()).unwrap();
    assert_eq!(held.start(1, OWNER, &policy(), back), Start::Run);
    held.retry_later(OWNER, 1, Retry::ScanPending, "scan", &policy(), back).unwrap();
    assert_eq!(held.work.scanning, Some(Held { since: back, times: 2 }));
}

#[test]
fn clocks_that_differ_a_little_disturb_nothing() {
    let behind = now().checked_sub(CLOCK_SKEW / 2).unwrap();
    let sent = with(task(now()), |work| work.enqueued_at = Some(now()));
    for (name, task) in [("new", task(now())), ("sent", sent), ("running", running())] {
        assert_eq!(task.sweep(&policy(), behind), None, "{name}");
    }
    let mut task = running();
    assert_eq!(task.start(1, "b", &policy(), behind), Start::Later(LEASE));
    assert_eq!(task.work.lease.unwrap().owner, OWNER);
}

#[test]
fn a_clock_set_forward_costs_at_most_an_attempt() {
    let forward = at(10 * 365 * 24 * 3600);
    let mut task = running();
    assert_eq!(task.start(1, "b", &policy(), forward), Start::Run);
    assert_eq!((task.work.attempts, task.state), (1, State::Running));
    assert_eq!(task.renew(OWNER, 1, layers(1), forward), Err(Refused::LeaseLost));
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let mut task = task(Timestamp::MAX);
    assert_eq!(task.sweep(&policy(), Timestamp::MAX), Some(Sweep::Enqueue));
    assert_eq!(task.start(1, OWNER, &policy(), Timestamp::MAX), Start::Run);
    task.fail(OWNER, 1, "x", &policy(), Timestamp::MAX).unwrap();
    assert_eq!(task.expires, Some(Timestamp::MAX));
    assert_eq!(self::task(Timestamp::MIN).sweep(&policy(), Timestamp::MAX), Some(Sweep::Enqueue));
}

#[test]
fn a_task_is_shown_as_acceld_shows_it() {
    let mut task = running();
    task.renew(OWNER, 1, layers(5), at(10)).unwrap();
    let shown = Shown::of(&task, at(20));
    assert_eq!((shown.status, shown.phase, shown.progress), (Status::Processing, Phase::Convert, 0.5));
    assert_eq!((shown.finished.as_str(), shown.duration_seconds), ("0001-01-01T00:00:00Z", 20.0));
    task.fail(OWNER, 1, "why", &policy(), at(30)).unwrap();
    let shown = Shown::of(&task, at(99));
    assert_eq!((shown.status, shown.reason.as_str(), shown.progress), (Status::Failed, "why", 0.5));
    assert_eq!((shown.finished.as_str(), shown.duration_seconds), ("2023-11-14T22:13:50Z", 30.0));
    // A clock set back makes no negative duration.
    assert_eq!(Shown::of(&running(), at(-50)).duration_seconds, 0.0);
}

#[test]
fn an_id_is_a_uuid() {
    let good = "01234567-89AB-cdef-0123-456789abcdef";
    assert_eq!(good.parse::<TaskId>().unwrap().to_string(), good.to_lowercase());
    for bad in ["", "0123456789abcdef0123456789abcdef0123", "01234567-89ab-cdef-0123-456789abcdeg", "../../etc/passwd"]
    {
        assert!(bad.parse::<TaskId>().is_err(), "{bad}");
    }
    assert!("a\u{1b}[2J".parse::<TaskId>().unwrap_err().to_string().contains("\\u{1b}"));
}
