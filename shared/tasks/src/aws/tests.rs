//! What needs no server: items, conditions, sizes.

use std::collections::BTreeSet;

use accel_domain::task::{Lease, MAX_UNITS, NewTask, RetryPolicy, Start, State, Task, TaskKind, Unit};
use accel_domain::{EstargzOptions, Format, FormatOptions, Output, Timestamp};
use accel_image::Digest;

use super::documents::{self, task_item, unit_item};
use super::requests::{Condition, Item, text};

/// What an item may have at most, names included, less a tenth for how DynamoDB counts.
const MOST_BYTES: usize = 360 * 1024;

fn now() -> Timestamp {
    "2025-01-01T12:00:00Z".parse().unwrap()
}

fn task() -> Task {
    let new = NewTask {
        id: "00000000-0000-4000-8000-00000000000f".parse().unwrap(),
        kind: TaskKind::Convert,
        written: "h.example/p/app:1".to_owned(),
        source: "h.example/p/app:1".parse().unwrap(),
        digest: Some(Digest::of(b"content")),
        target: "h.example/p/app:1-esgz".parse().unwrap(),
        output: Output::new(Format::Estargz.default_options()),
        rule_hash: Digest::of(b"rule"),
        delivery: Some("delivery".to_owned()),
    };
    Task::new(new, now())
}

/// A task that waits for `units` layers.
fn fanned_out(mut task: Task, units: usize) -> Task {
    let units: BTreeSet<Digest> = (0..units).map(|n| Digest::of(&n.to_le_bytes())).collect();
    assert_eq!(task.start(1, "owner", &RetryPolicy::default(), now()), Start::Run);
    task.fan_out("owner", 1, units, &RetryPolicy::default(), now()).unwrap();
    task
}

fn bytes(item: &Item) -> usize {
    let value = |value: &aws_sdk_dynamodb::types::AttributeValue| {
        value.as_s().or_else(|_| value.as_n()).map(String::len).expect("items are of texts and numbers")
    };
    item.iter().map(|(name, content)| name.len() + value(content)).sum()
}

#[test]
fn the_largest_task_fits_into_an_item() {
    let long = |n: usize| "x".repeat(n);
    let prefetch: Vec<String> = (0..512).map(|n| format!("/{n}/{}", long(200))).collect();
    let options = FormatOptions::Estargz(EstargzOptions { prefetch, ..EstargzOptions::default() });
    let output = Output { platforms: vec!["linux/arm64/v8".parse().unwrap(); 64], ..Output::new(options) };
    let source = format!("{}:5000/{}/{}:{}", "h".repeat(200), long(100), long(100), long(128)).parse().unwrap();
    let mut task = fanned_out(Task { output, source, written: long(1000), reason: long(4096), ..task() }, MAX_UNITS);
    let fan_out = task.fan_out.as_mut().unwrap();
    fan_out.finished = fan_out.units.clone();
    let lease = Lease { owner: long(200), until: Timestamp::MAX, progressed: true };
    (task.work.lease, task.work.enqueued_at) = (Some(lease), Some(Timestamp::MAX));
    let sets = bytes(&task_item(&task, &documents::writer())) - 4096 - 512 * 208;
    assert!(sets < 64 * 1024, "the two sets of {MAX_UNITS} digests take {sets} bytes");
    let all = bytes(&task_item(&task, &documents::writer()));
    assert!(all < MOST_BYTES, "{all}");
}

#[test]
fn a_task_is_read_as_it_was_written() {
    for task in [task(), fanned_out(task(), 3)] {
        assert_eq!(documents::task(&task_item(&task, "w")).unwrap(), task);
    }
}

/// Which attributes a task has beside its record.
fn attributes(task: &Task) -> BTreeSet<String> {
    task_item(task, "w").into_keys().collect()
}

#[test]
fn only_a_live_task_claims_a_key_and_is_due_and_only_an_ended_one_expires() {
    let always = ["listed_pk", "listed_sk", "pk", "revision", "sk", "task", "writer"];
    let with = |more: &[&str]| always.iter().chain(more).map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let mut ended = task();
    assert_eq!(attributes(&ended), with(&["due_pk", "due_sk", "live"]));
    assert_eq!(attributes(&fanned_out(task(), 3)), with(&["due_pk", "due_sk", "live"]));
    ended.cancel(&RetryPolicy::default(), now()).unwrap();
    assert_eq!(ended.state, State::Cancelled);
    assert_eq!(attributes(&ended), with(&["expires"]));
    assert_eq!(task_item(&ended, "w")["expires"].as_n().unwrap(), "1735819200", "a day later, in seconds");
}

#[test]
fn a_task_is_due_when_the_sweeper_may_have_something_to_say() {
    let due = |task: &Task| {
        let item = task_item(task, "w");
        [&item["due_pk"], &item["due_sk"]].map(|value| value.as_s().unwrap().clone())
    };
    assert_eq!(due(&task()), ["task#7", "001735732920000000000"], "two minutes after it was accepted");
    assert_eq!(due(&fanned_out(task(), 3)), ["unit#7", "000000000000000000000"], "its units are looked at each time");
}

#[test]
fn a_unit_is_kept_for_a_month() {
    let task = fanned_out(task(), 1);
    let unit: Unit = task.units().remove(0);
    let item = unit_item(&unit, "w");
    assert_eq!(documents::unit(&item).unwrap(), unit);
    assert_eq!(item["expires"].as_n().unwrap(), "1738324800");
}

#[test]
fn a_damaged_record_says_which_and_what_to_do() {
    let mut item = task_item(&task(), "w");
    item.insert("task".to_owned(), text("{}"));
    let error = documents::task(&item).unwrap_err().to_string();
    assert!(error.contains("task#00000000-0000-4000-8000-00000000000f") && error.contains("delete it"), "{error}");
    item.remove("task");
    assert!(documents::task(&item).is_err());
}

#[test]
fn a_condition_names_exactly_what_it_speaks_of() {
    let condition = Condition::new("attribute_not_exists(#pk) OR #until <= :now AND #due_sk < :x");
    let names: BTreeSet<(&str, &str)> = condition.names.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(names, [("#pk", "pk"), ("#until", "until"), ("#due_sk", "due_sk")].into());
    assert!(Condition::none().names.is_empty());
}
