//! The embedded store passes the suite, and survives what one machine does to it.

mod commits;
mod crash;
mod damage;
mod kept_units;
mod machine;
mod purge;

use std::path::Path;
use std::time::Duration;

use accel_domain::task::{NewTask, RetryPolicy, Start, Task, TaskId, TaskKind, Unit, UnitKey};
use accel_domain::{Format, Output, Timestamp};
use accel_image::{Descriptor, Digest};

use super::{Clock, Embedded};
use crate::conformance::Fixture;
use crate::{Admission, LayerCache, LayerKey, LayerOutcome, LayerRecord, Message, TaskQueue, TaskStore};

/// A store in a directory of its own, on a clock that stands still.
struct Fresh {
    store: Embedded,
    clock: Clock,
    _directory: tempfile::TempDir,
}

async fn fresh() -> Fresh {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::now());
    let store = Embedded::open_with(directory.path().join("accel.redb"), clock.clone()).unwrap();
    Fresh { store, clock, _directory: directory }
}

impl Fixture for Fresh {
    type Tasks = Embedded;
    type Queue = Embedded;
    type Layers = Embedded;

    fn tasks(&self) -> &Embedded {
        &self.store
    }

    fn queue(&self) -> &Embedded {
        &self.store
    }

    fn layers(&self) -> &Embedded {
        &self.store
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

crate::conformance!(fresh);

#[test]
fn every_case_of_the_suite_is_run() {
    let listed: Vec<&str> = include_str!("../conformance.rs").lines().map(str::trim).collect();
    let parts = [
        include_str!("../conformance/admission.rs"),
        include_str!("../conformance/fan_out.rs"),
        include_str!("../conformance/layers.rs"),
        include_str!("../conformance/lease.rs"),
        include_str!("../conformance/list.rs"),
        include_str!("../conformance/outcome.rs"),
        include_str!("../conformance/queue.rs"),
        include_str!("../conformance/sweeper.rs"),
        include_str!("../conformance/target.rs"),
        include_str!("../conformance/units.rs"),
    ];
    let cases = parts.iter().flat_map(|part| part.lines()).filter_map(|line| line.strip_prefix("pub async fn "));
    for case in cases.filter_map(|rest| rest.split('(').next()) {
        assert!(listed.contains(&case), "{case} is in no list");
    }
}

/// The `n`-th task: a push of an image of its own.
fn nth(n: u64, created: Timestamp) -> Task {
    let new = NewTask {
        id: nth_id(n),
        kind: TaskKind::Convert,
        written: format!("h.example/p/app:{n}"),
        source: format!("h.example/p/app:{n}").parse().unwrap(),
        digest: Some(Digest::of(&n.to_le_bytes())),
        target: format!("h.example/p/app:{n}-esgz").parse().unwrap(),
        output: Output::new(Format::Estargz.default_options()),
        rule_hash: Digest::of(b"rule"),
        delivery: Some(format!("delivery {n}")),
    };
    Task::new(new, created)
}

fn nth_id(n: u64) -> TaskId {
    format!("00000000-0000-4000-8000-{n:012x}").parse().unwrap()
}

fn layer_key(n: u64) -> LayerKey {
    LayerKey {
        host: "h.example".to_owned(),
        project: "p".to_owned(),
        source: Digest::of(&n.to_le_bytes()),
        format: Format::Estargz,
        version: 1,
        options: Digest::of(b"options"),
    }
}

fn layer(n: u64) -> LayerRecord {
    LayerRecord {
        descriptor: Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", Digest::of(&n.to_be_bytes()), n),
        diff_id: Digest::of(b"diff id"),
        outcome: LayerOutcome::Converted,
        reason: String::new(),
        repository: "p/app".to_owned(),
    }
}

fn unit(n: u64) -> Unit {
    Unit::new(UnitKey { task: nth_id(n), generation: 1, layer: Digest::of(b"layer") }, noon())
}

fn noon() -> Timestamp {
    "2025-01-01T12:00:00Z".parse().unwrap()
}

/// A store of twelve tasks: some queued, some running, some ended, each with its message, a layer record and a unit.
async fn filled(path: &Path) -> Vec<Task> {
    let store = Embedded::open(path).unwrap();
    let policy = RetryPolicy::default();
    let mut tasks = Vec::new();
    for n in 0..12 {
        let task = nth(n, noon());
        assert_eq!(store.admit(&task).await.unwrap(), Admission::Created);
        store.send(&Message::from(&task), Duration::ZERO).await.unwrap();
        store.remember_layer(&layer_key(n), &layer(n), noon()).await.unwrap();
        store.replace_unit(&unit(n)).await.unwrap();
        let change = |task: &mut Task| {
            if n % 3 > 0 {
                assert_eq!(task.start(1, "owner", &policy, noon()), Start::Run);
            }
            if n % 3 == 2 {
                task.fail("owner", 1, "no such image", &policy, noon())?;
            }
            Ok(())
        };
        tasks.push(store.update(&task.id, noon(), change).await.unwrap().0);
    }
    tasks
}
