//! Random walks: whatever happens to a task, in whatever order, under whatever clock, its invariants hold.

use std::time::Duration;

use accel_image::Digest;
use proptest::prelude::*;

use super::tests::{OWNER, done, task};
use super::*;
use crate::Retry;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    Start {
        owner: bool,
        generation: u32,
    },
    Renew {
        owner: bool,
        layers: u32,
    },
    Tag,
    Resolve,
    Join,
    Complete,
    Fail,
    Stopped,
    RetryLater(Retry),
    Interrupted {
        stalled: bool,
    },
    Cancel,
    Retry,
    Sent {
        part: u32,
    },
    Sweep,
    /// The clock moves by seconds, back too.
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let retries = prop_oneof![
        3 => Just(Retry::Backoff),
        1 => Just(Retry::ScanPending),
        1 => (0_u64..200_000).prop_map(|n| Retry::Throttled { after: Some(Duration::from_secs(n)) }),
        1 => Just(Retry::Throttled { after: None }),
        1 => (0_u64..120).prop_map(|n| Retry::Busy { after: Duration::from_secs(n) }),
    ];
    let clock = prop_oneof![
        4 => 0_i64..90,
        2 => 0_i64..1000,
        1 => 0_i64..200_000,
        1 => -400_000_000_i64..400_000_000,
    ];
    let step = prop_oneof![
        6 => (any::<bool>(), 0_u32..3).prop_map(|(owner, generation)| Step::Start { owner, generation }),
        3 => (any::<bool>(), 0_u32..12).prop_map(|(owner, layers)| Step::Renew { owner, layers }),
        1 => Just(Step::Tag),
        1 => Just(Step::Resolve),
        1 => Just(Step::Join),
        1 => Just(Step::Complete),
        1 => Just(Step::Fail),
        1 => Just(Step::Stopped),
        4 => retries.prop_map(Step::RetryLater),
        3 => any::<bool>().prop_map(|stalled| Step::Interrupted { stalled }),
        1 => Just(Step::Cancel),
        2 => Just(Step::Retry),
        2 => (0_u32..3).prop_map(|part| Step::Sent { part }),
        4 => Just(Step::Sweep),
        8 => clock.prop_map(Step::Clock),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Applies `step`; a transition that is refused must leave the task as it was.
fn apply(task: &mut Task, step: &Step, policy: &RetryPolicy, now: &mut Timestamp) -> Result<(), Refused> {
    let generation = task.generation;
    let owner = |own: &bool| if *own { OWNER } else { "b" };
    match step {
        Step::Start { owner: own, generation: back } => {
            task.start(generation.saturating_sub(*back), owner(own), policy, *now);
            Ok(())
        }
        Step::Renew { owner: own, layers } => {
            let seen = Progress { layers_total: 12, layers_reused: *layers, ..Progress::default() };
            task.renew(owner(own), generation, (Phase::Convert, seen), *now).map(drop)
        }
        Step::Tag => task.may_tag(OWNER, generation, *now).map(drop),
        Step::Resolve => task.resolve(OWNER, generation, Digest::of(b"resolved")),
        Step::Join => task.join(OWNER, generation, task.id.clone(), policy, *now),
        Step::Complete => task.complete(OWNER, generation, done(), policy, *now),
        Step::Fail => task.fail(OWNER, generation, "permanent", policy, *now),
        Step::Stopped => task.stopped(OWNER, generation, policy, *now),
        Step::RetryLater(retry) => task.retry_later(OWNER, generation, *retry, "transient", policy, *now).map(drop),
        Step::Interrupted { stalled } => {
            task.interrupted(OWNER, generation, stalled.then_some("way out"), policy, *now).map(drop)
        }
        Step::Cancel => task.cancel(policy, *now),
        Step::Retry => task.retry(*now),
        Step::Sent { part } => {
            task.sent(generation, *part, *now);
            Ok(())
        }
        Step::Sweep => sweep(task, policy, *now),
        Step::Clock(seconds) => {
            *now = now.checked_add(jiff::SignedDuration::from_secs(*seconds)).unwrap_or(*now);
            Ok(())
        }
    }
}

fn sweep(task: &mut Task, policy: &RetryPolicy, now: Timestamp) -> Result<(), Refused> {
    match task.sweep(policy, now) {
        Some(Sweep::Enqueue) => {
            task.sent(task.generation, task.part, now);
            Ok(())
        }
        Some(Sweep::Fail) => task.abandon(policy, now),
        None => Ok(()),
    }
}

fn check(before: &Task, task: &Task, policy: &RetryPolicy) {
    let live = task.state.is_live();
    assert_eq!(live, task.finished.is_none(), "live means not finished");
    assert_eq!(live, task.expires.is_none(), "only what has ended expires");
    assert_eq!(task.state == State::Running, task.lease.is_some(), "running means leased");
    assert_eq!(live, task.phase != Phase::Done, "ended means done");
    assert!(live || task.not_before.is_none(), "what has ended does not wait");
    assert!(task.attempts <= policy.attempts, "attempts stay within the policy");
    assert!(!live || task.attempts < policy.attempts, "a live task has an attempt left");
    assert!(task.generation >= before.generation, "generations are only raised");
    let kept = |task: &Task| (task.id.clone(), task.created, task.rule_hash, task.delivery.clone());
    assert_eq!(kept(before), kept(task), "identity is not touched");
    if task.state == State::Failed {
        assert!(!task.reason.is_empty(), "a failure has a reason");
    }
}

/// From here on each message is delivered, and each run dies after finishing at most one layer more than ever before,
/// ten in all: the sweeper must see to it that the task ends.
fn assert_ends(task: &mut Task, policy: &RetryPolicy, mut now: Timestamp) {
    for hour in 0..24 * 30 {
        if !task.state.is_live() {
            return;
        }
        let enqueue = task.sweep(policy, now) == Some(Sweep::Enqueue);
        sweep(task, policy, now).expect("the sweeper is told what it may do");
        if enqueue && task.start(task.generation, "dies", policy, now) == Start::Run && hour % 2 == 0 {
            let layers_reused = (task.layers_finished + 1).min(10);
            let seen = Progress { layers_total: 12, layers_reused, ..Progress::default() };
            task.renew("dies", task.generation, (Phase::Convert, seen), now).expect("it has just started");
        }
        now = now.checked_add(Duration::from_secs(3600)).expect("far from the end of time");
    }
    panic!("it has not ended within a month: {task:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_transitions_keeps_the_invariants_and_ends(steps in steps()) {
        let policy = RetryPolicy::default();
        let mut now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut task = task(now);
        for step in &steps {
            let before = task.clone();
            if apply(&mut task, step, &policy, &mut now).is_err() {
                prop_assert_eq!(&before, &task, "refused {:?}", step);
            }
            check(&before, &task, &policy);
        }
        assert_ends(&mut task, &policy, now);
    }
}
