//! Random walks: whatever happens to a task and its units, in whatever order, under whatever clock, their invariants
//! hold.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The task is done in so many units.
    FanOut(u8),
    Gather,
    /// Something happens to a unit.
    Unit(u8, UnitStep),
}

/// One thing that happens to a unit.
#[derive(Debug, Clone)]
enum UnitStep {
    Start { owner: bool },
    Renew { owner: bool },
    Finish,
    Fail,
    RetryLater(Retry),
    Interrupted { stalled: bool },
    Sent { part: u32 },
}

/// A task, and the records of the units of its generation.
#[derive(Debug, Clone, PartialEq)]
struct World {
    task: Task,
    units: BTreeMap<Digest, Unit>,
}

const UNITS: u8 = 4;

fn layer(n: u8) -> Digest {
    Digest::of(&[n])
}

fn retries() -> impl Strategy<Value = Retry> {
    prop_oneof![
        3 => Just(Retry::Backoff),
        1 => Just(Retry::ScanPending),
        1 => (0_u64..200_000).prop_map(|n| Retry::Throttled { after: Some(Duration::from_secs(n)) }),
        1 => Just(Retry::Throttled { after: None }),
        1 => (0_u64..120).prop_map(|n| Retry::Busy { after: Duration::from_secs(n) }),
    ]
}

fn unit_steps() -> impl Strategy<Value = UnitStep> {
    prop_oneof![
        4 => any::<bool>().prop_map(|owner| UnitStep::Start { owner }),
        2 => any::<bool>().prop_map(|owner| UnitStep::Renew { owner }),
        3 => Just(UnitStep::Finish),
        1 => Just(UnitStep::Fail),
        3 => retries().prop_map(UnitStep::RetryLater),
        2 => any::<bool>().prop_map(|stalled| UnitStep::Interrupted { stalled }),
        2 => (0_u32..3).prop_map(|part| UnitStep::Sent { part }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
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
        4 => retries().prop_map(Step::RetryLater),
        3 => any::<bool>().prop_map(|stalled| Step::Interrupted { stalled }),
        1 => Just(Step::Cancel),
        2 => Just(Step::Retry),
        2 => (0_u32..3).prop_map(|part| Step::Sent { part }),
        4 => Just(Step::Sweep),
        8 => clock.prop_map(Step::Clock),
        3 => (0..=UNITS).prop_map(Step::FanOut),
        1 => Just(Step::Gather),
        16 => (0..UNITS, unit_steps()).prop_map(|(unit, step)| Step::Unit(unit, step)),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Applies `step`; a transition that is refused must leave the task as it was.
fn apply(world: &mut World, step: &Step, policy: &RetryPolicy, now: &mut Timestamp) -> Result<(), Refused> {
    let task = &mut world.task;
    let generation = task.generation;
    match step {
        Step::Start { owner: own, generation: back } => {
            task.start(generation.saturating_sub(*back), who(*own), policy, *now);
            Ok(())
        }
        Step::Renew { owner: own, layers } => {
            let seen = Progress { layers_total: 12, layers_reused: *layers, ..Progress::default() };
            task.renew(who(*own), generation, (Phase::Convert, seen), *now).map(drop)
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
        Step::Retry => task.retry(*now).map(|()| world.units.clear()),
        Step::Sent { part } => {
            task.sent(generation, *part, *now);
            Ok(())
        }
        Step::Sweep => sweep(world, policy, *now),
        Step::FanOut(units) => {
            let units: BTreeSet<Digest> = (0..*units).map(layer).collect();
            task.fan_out(OWNER, generation, units, policy, *now).map(|_| world.units.clear())
        }
        Step::Gather => task.gather(generation, *now),
        Step::Unit(unit, step) => apply_to_unit(world, layer(*unit), step, policy, *now),
        Step::Clock(seconds) => {
            *now = now.checked_add(jiff::SignedDuration::from_secs(*seconds)).unwrap_or(*now);
            Ok(())
        }
    }
}

const fn who(own: bool) -> &'static str {
    if own { OWNER } else { "b" }
}

/// What the holder of a message of a unit does; a unit that the task does not wait for is left alone.
fn apply_to_unit(
    world: &mut World,
    layer: Digest,
    step: &UnitStep,
    policy: &RetryPolicy,
    now: Timestamp,
) -> Result<(), Refused> {
    let World { task, units } = world;
    let generation = task.generation;
    let mut unit = match (task.unit(generation, layer), units.get(&layer)) {
        (None, _) => return Ok(()),
        (Some(_), Some(unit)) => unit.clone(),
        (Some(fresh), None) => fresh,
    };
    let next = match step {
        UnitStep::Start { owner } => match unit.start(who(*owner), policy, now) {
            Start::OutOfAttempts => Next::Ended,
            Start::Run | Start::Void | Start::Later(_) | Start::Cancelled => Next::Parked,
        },
        UnitStep::Renew { owner } => unit.renew(who(*owner), now).map(|()| Next::Parked)?,
        UnitStep::Finish => task.finish_unit(generation, layer, Progress::default(), now).map(|_| Next::Parked)?,
        UnitStep::Fail => task.fail_unit(generation, layer, "permanent", policy, now).map(|()| Next::Parked)?,
        UnitStep::RetryLater(retry) => unit.retry_later(OWNER, *retry, "transient", policy, now)?,
        UnitStep::Interrupted { stalled } => unit.interrupted(OWNER, stalled.then_some("way out"), policy, now)?,
        UnitStep::Sent { part } => {
            unit.sent(*part, now);
            Next::Parked
        }
    };
    // Whoever saw that nothing is left may die here, as with half of the layers: the sweeper fails the task then.
    if next == Next::Ended && layer.hex().ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']) {
        task.fail_unit(generation, layer, &unit.reason, policy, now)?;
    }
    units.insert(layer, unit);
    Ok(())
}

fn sweep(world: &mut World, policy: &RetryPolicy, now: Timestamp) -> Result<(), Refused> {
    let World { task, units } = world;
    match task.sweep(policy, now) {
        Some(Sweep::Enqueue) => task.sent(task.generation, task.work.part, now),
        Some(Sweep::Fail) => task.abandon(policy, now)?,
        None => {}
    }
    for fresh in task.units() {
        let layer = fresh.key.layer;
        let unit = units.entry(layer).or_insert(fresh);
        match unit.sweep(policy, now) {
            Some(Sweep::Enqueue) => unit.sent(unit.work.part, now),
            Some(Sweep::Fail) => return task.fail_unit(task.generation, layer, &unit.reason, policy, now),
            None => {}
        }
    }
    Ok(())
}

fn check(World { task: before, .. }: &World, World { task, units }: &World, policy: &RetryPolicy) {
    let live = task.state.is_live();
    assert_eq!(live, task.finished.is_none(), "live means not finished");
    assert_eq!(live, task.expires.is_none(), "only what has ended expires");
    assert_eq!(task.state == State::Running, task.work.lease.is_some(), "running means leased");
    assert_eq!(live, task.phase != Phase::Done, "ended means done");
    assert_eq!(task.state == State::FannedOut, !task.units().is_empty(), "it waits for units, or for nothing");
    assert!(live || task.work.not_before.is_none(), "what has ended does not wait");
    assert!(task.work.attempts <= policy.attempts, "attempts stay within the policy");
    assert!(!live || task.work.attempts < policy.attempts, "a live task has an attempt left");
    assert!(task.generation >= before.generation, "generations are only raised");
    let kept = |task: &Task| (task.id.clone(), task.created, task.rule_hash, task.delivery.clone());
    assert_eq!(kept(before), kept(task), "identity is not touched");
    if task.state == State::Failed {
        assert!(!task.reason.is_empty(), "a failure has a reason");
    }
    for unit in units.values() {
        assert!(unit.work.attempts <= policy.attempts, "attempts of a unit stay within the policy");
        assert!(unit.work.lease.is_none() || unit.work.not_before.is_none(), "what runs does not wait");
    }
}

/// From here on each message is delivered, and each run dies after finishing at most one layer more than ever before,
/// ten in all: the sweeper must see to it that the task ends.
fn assert_ends(world: &mut World, policy: &RetryPolicy, mut now: Timestamp) {
    for hour in 0..24 * 30 {
        if !world.task.state.is_live() {
            return;
        }
        let due: Vec<Digest> = world.task.units().into_iter().map(|unit| unit.key.layer).collect();
        let enqueue = world.task.sweep(policy, now) == Some(Sweep::Enqueue);
        sweep(world, policy, now).expect("the sweeper is told what it may do");
        let task = &mut world.task;
        if enqueue && task.start(task.generation, "dies", policy, now) == Start::Run && hour % 2 == 0 {
            let layers_reused = (task.layers_finished + 1).min(10);
            let seen = Progress { layers_total: 12, layers_reused, ..Progress::default() };
            task.renew("dies", task.generation, (Phase::Convert, seen), now).expect("it has just started");
        }
        for layer in due {
            let end = if hour % 5 == 4 { UnitStep::Finish } else { UnitStep::Start { owner: false } };
            apply_to_unit(world, layer, &end, policy, now).expect("a message of a unit is delivered");
        }
        now = now.checked_add(Duration::from_secs(3600)).expect("far from the end of time");
    }
    panic!("it has not ended within a month: {world:?}");
}

/// From `now` on the sweeper has something to say exactly when the task is due; ended, never.
fn check_due(task: &Task, policy: &RetryPolicy, now: Timestamp, looks: &[u64]) {
    let due = task.sweep_due(policy);
    assert_eq!(due.is_some(), task.state.is_live());
    let seconds = |n: u64| now.checked_add(Duration::from_secs(n)).expect("far from the end of time");
    let around =
        due.into_iter().flat_map(|due| [-1, 0, 1].map(|n| due.checked_add(jiff::SignedDuration::from_nanos(n))));
    let times = looks.iter().map(|n| seconds(*n)).chain(around.flatten().filter(|at| *at >= now)).chain([now]);
    for at in times {
        let expected = task.state != State::FannedOut && due.is_some_and(|due| due <= at);
        assert_eq!(task.sweep(policy, at).is_some(), expected, "{task:?} is due at {due:?}, looked at {at}");
    }
}

/// Seconds after which the sweeper looks.
fn looks() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(prop_oneof![0_u64..200, 0_u64..4000, 0_u64..500_000], 8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_transitions_keeps_the_invariants_and_ends(steps in steps()) {
        let policy = RetryPolicy::default();
        let mut now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut world = World { task: task(now), units: BTreeMap::new() };
        for step in &steps {
            let before = world.clone();
            if apply(&mut world, step, &policy, &mut now).is_err() {
                prop_assert_eq!(&before, &world, "refused {:?}", step);
            }
            check(&before, &world, &policy);
        }
        assert_ends(&mut world, &policy, now);
    }

    #[test]
    fn the_sweeper_has_nothing_to_say_before_a_task_is_due(steps in steps(), looks in looks()) {
        let policy = RetryPolicy::default();
        let mut now = Timestamp::from_second(1_700_000_000).unwrap();
        let mut world = World { task: task(now), units: BTreeMap::new() };
        for step in &steps {
            // A clock that is never set back: what then lies ahead was meant to.
            if !matches!(step, Step::Clock(seconds) if *seconds < 0) && apply(&mut world, step, &policy, &mut now).is_ok() {
                check_due(&world.task, &policy, now, &looks);
            }
        }
    }
}
