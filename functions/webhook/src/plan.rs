//! What an event asks for: pure, from the event and the rules to the tasks that are to be admitted.

use std::collections::HashMap;
use std::collections::hash_map;

use accel_domain::target::TargetError;
use accel_domain::task::{NewTask, RetryPolicy, Start, TaskKind};
use accel_domain::{Event, EventKind, Resource, Task, TaskId, Timestamp};
use accel_image::Reference;

use crate::rules::{Entry, Rules};

/// The tasks of one event, and the entries whose target could not be named.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) tasks: Vec<Planned>,
    pub(crate) unnamed: Vec<TargetError>,
}

/// A task to be admitted.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) task: Task,
    /// The live key of the conversion that a deletion makes pointless.
    pub(crate) cancels: Option<String>,
}

/// Makes the tasks of `event`, whose resources are named by their configured hosts.
///
/// A tag says what is meant for use, so what was put by digest alone makes no task: it is a child of an index, an
/// attestation or a signature. Nor do tags that tools attach to an image, nor the echo of our own pushes.
pub(crate) fn plan(rules: &Rules, event: &Event, policy: &RetryPolicy, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let mut taken = HashMap::new();
    for resource in &event.resources {
        let ignored = resource.is_digest_only() || resource.is_attached();
        if ignored || rules.is_echo(event.operator.as_deref(), resource) {
            tracing::debug!(image.source = %resource.reference, "nothing to convert: by digest, attached or our own");
            continue;
        }
        for entry in rules.matching(&resource.reference).filter(|entry| wanted(event.kind, entry, resource)) {
            match entry.target.expand(&resource.reference, resource.digest) {
                Ok(target) => plan.tasks.extend(claim(&mut taken, task(event, resource, entry, target, now), policy)),
                Err(error) => {
                    tracing::warn!(image.source = %resource.reference, %error, "an entry is left out");
                    plan.unnamed.push(error);
                }
            }
        }
    }
    plan
}

/// A deletion has to say the digest: a target is removed only if it was made of exactly that.
fn wanted(kind: EventKind, entry: &Entry, resource: &Resource) -> bool {
    match kind {
        EventKind::Push => true,
        EventKind::Delete => entry.delete && resource.digest.is_some(),
    }
}

fn task(event: &Event, resource: &Resource, entry: &Entry, target: Reference, now: Timestamp) -> Task {
    let new = NewTask {
        id: new_id(),
        kind: match event.kind {
            EventKind::Push => TaskKind::Convert,
            EventKind::Delete => TaskKind::Delete,
        },
        written: resource.written.clone(),
        source: resource.reference.clone(),
        digest: resource.digest,
        target,
        output: entry.output.clone(),
        rule_hash: entry.rule_hash,
        delivery: resource.delivery_key(event.kind, event.delivery.as_deref()),
    };
    Task::new(new, now)
}

/// Two entries may give one target: the first has it, the second fails and says so. The same task twice is one.
fn claim(taken: &mut HashMap<Reference, Task>, task: Task, policy: &RetryPolicy) -> Option<Planned> {
    match taken.entry(task.target.clone()) {
        hash_map::Entry::Vacant(free) => {
            free.insert(task.clone());
            Some(Planned { cancels: conversion_key(&task), task })
        }
        hash_map::Entry::Occupied(first) if first.get().live_key() == task.live_key() => None,
        hash_map::Entry::Occupied(first) => Some(Planned { task: lost_to(first.get(), task, policy), cancels: None }),
    }
}

fn lost_to(first: &Task, mut task: Task, policy: &RetryPolicy) -> Task {
    let reason = format!(
        "{} as {} already goes to {} in this event: give each convert entry a target of its own",
        first.source,
        first.output.format_version(),
        first.target
    );
    let (generation, now) = (task.generation, task.created);
    let started = task.start(generation, "webhook", policy, now);
    debug_assert_eq!(started, Start::Run, "a new task waits for nobody");
    task.fail("webhook", generation, &reason, policy, now).expect("the lease was taken on the line above");
    task
}

fn conversion_key(task: &Task) -> Option<String> {
    (task.kind == TaskKind::Delete).then(|| task.live_key_as(TaskKind::Convert))
}

fn new_id() -> TaskId {
    uuid::Uuid::new_v4().to_string().parse().expect("a task id is a UUID")
}

#[cfg(test)]
mod tests {
    use accel_domain::task::State;
    use accel_image::Digest;

    use super::*;
    use crate::rules::tests::{resource, rules};

    const ESGZ: &str = "{repository}:{tag}-esgz";

    fn event(kind: EventKind, names: &[&str]) -> Event {
        let digest = Some(Digest::of(b"manifest"));
        let resources = names.iter().map(|name| Resource { digest, ..resource(name) }).collect();
        Event { kind, operator: Some("robot$accel".into()), delivery: Some("1".into()), resources }
    }

    fn planned(rules: &Rules, event: &Event) -> Vec<Task> {
        let tasks = plan(rules, event, &RetryPolicy::default(), Timestamp::UNIX_EPOCH).tasks;
        tasks.into_iter().map(|planned| planned.task).collect()
    }

    #[test]
    fn each_resource_and_entry_is_a_task() {
        let rules = rules(&[ESGZ, "fast/{name}:{tag}"]);
        let tasks = planned(&rules, &event(EventKind::Push, &["h.example/p/r:1", "h.example/p/s:2"]));
        let targets: Vec<_> = tasks.iter().map(|task| task.target.to_string()).collect();
        let expected = ["h.example/p/r:1-esgz", "h.example/fast/r:1", "h.example/p/s:2-esgz", "h.example/fast/s:2"];
        assert_eq!(targets, expected);
        assert!(tasks.iter().all(|task| task.kind == TaskKind::Convert && task.state == State::Queued));
        assert_eq!(tasks.iter().filter_map(Task::delivery_key).collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn what_is_no_image_for_use_makes_no_task() {
        let hex = "a".repeat(64);
        let names = [
            format!("h.example/p/r@sha256:{hex}"),
            format!("h.example/p/r:sha256-{hex}"),
            format!("h.example/p/r:sha256-{hex}.sig"),
            "h.example/p/r:1-esgz".to_owned(),
            "h.example/p/r:1-orig".to_owned(),
        ];
        for name in names {
            assert_eq!(planned(&rules(&[ESGZ]), &event(EventKind::Push, &[&name])), [], "{name}");
        }
    }

    #[test]
    fn the_second_entry_for_a_target_fails_and_names_the_first() {
        let mut rules = rules(&[ESGZ, "{project}/{name}:{tag}-esgz"]);
        let tasks = planned(&rules, &event(EventKind::Push, &["h.example/p/r:1"]));
        assert_eq!(tasks.iter().map(|task| task.state).collect::<Vec<_>>(), [State::Queued, State::Failed]);
        assert!(tasks[1].reason.contains("h.example/p/r:1 as estargz/2"), "{}", tasks[1].reason);
        rules.entries.truncate(1);
        assert_eq!(planned(&rules, &event(EventKind::Push, &["h.example/p/r:1", "h.example/p/r:1"])).len(), 1);
    }

    #[test]
    fn a_deletion_takes_only_what_an_entry_says() {
        let mut rules = rules(&[ESGZ, "fast/{name}:{tag}"]);
        rules.entries[0].delete = true;
        let mut event = event(EventKind::Delete, &["h.example/p/r:1"]);
        let found = plan(&rules, &event, &RetryPolicy::default(), Timestamp::UNIX_EPOCH).tasks;
        assert_eq!(found.len(), 1);
        let Planned { task, cancels } = &found[0];
        assert_eq!((task.kind, task.target.tag()), (TaskKind::Delete, Some("1-esgz")));
        assert_eq!(cancels.as_deref(), Some(task.live_key_as(TaskKind::Convert).as_str()));
        event.resources[0].digest = None;
        assert_eq!(planned(&rules, &event), [], "a deletion without a digest deletes nothing");
    }

    #[test]
    fn a_target_that_cannot_be_named_leaves_the_others() {
        let long = format!("h.example/p/r:{}", "a".repeat(128));
        let event = event(EventKind::Push, &[&long]);
        let found = plan(&rules(&[ESGZ, "fast/{name}:{tag}"]), &event, &RetryPolicy::default(), Timestamp::UNIX_EPOCH);
        assert_eq!((found.tasks.len(), found.unnamed.len()), (1, 1));
    }
}
