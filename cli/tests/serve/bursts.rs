//! Many events at once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, Request, Rule};
use futures::StreamExt as _;
use serde_json::Value;

use crate::service::Service;
use crate::site::{Keys, REPOSITORY, Site};

#[tokio::test]
async fn a_hundred_equal_events_make_one_task() {
    let site = Site::new().await;
    site.image("v1", 1);
    let service = site.serve().await;
    let event = site.event("v1");
    let answers = futures::future::join_all((0..100).map(|_| service.tell(&event))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let ids: BTreeSet<String> = answers.into_iter().flat_map(|answer| answer.tasks).collect();
    assert_eq!((ids.len(), service.tasks().await.len()), (1, 1));
    service.completed(ids.first().unwrap()).await;
    site.assert_accelerated("v1");
}

/// acceld's case asks for an answer in less than 3 s: here nothing of what would take longer can have happened before.
#[tokio::test]
async fn c1_events_are_answered_while_the_registry_holds_all_conversions_back() {
    let site = Site::new().await;
    for request in [Request::ManifestHead, Request::ManifestGet, Request::BlobGet] {
        site.registry.rule(Rule::on(request, Fault::Hang));
    }
    let tags = ["v1", "v2", "v3", "v4"];
    let service = site.serve().await;
    let mut ids = Vec::new();
    for tag in tags {
        site.image(tag, 1);
        ids.push(service.push(&site, tag).await);
        site.registry.stalled(1).await; // from the first on, a conversion is held back
    }
    for id in &ids {
        assert_eq!(service.task(id).await["status"], "PROCESSING");
    }
    assert!(!tags.iter().any(|tag| site.is_accelerated(tag)));
    site.registry.release();
    for id in &ids {
        service.completed(id).await;
    }
    service.stop().await;
}

/// Sends so many pushes at once, and looks at the task list page by page until all have ended; the service's memory in
/// KiB after the first tenth, and at most.
async fn burst(pushes: usize, longest: Duration) -> (u64, u64) {
    let site = Site::with(FaultyRegistry::start().await, Keys { server: "workers: 4", ..Keys::default() });
    let tags: Vec<String> = (0..pushes).map(|number| format!("t{number}")).collect();
    let same = ImageBuilder::noisy("same", 1);
    for tag in &tags {
        same.push(site.content(), REPOSITORY, Some(tag));
    }
    let service = site.serve().await;
    let accepted = Mutex::new(BTreeSet::new());
    let sending = futures::stream::iter(&tags)
        .map(async |tag| service.push(&site, tag).await)
        .buffer_unordered(64)
        .for_each(async |id| accepted.lock().unwrap().extend([id]));
    let watching = watched_to_the_end(&service, &accepted, pushes, longest);
    let ((), memory) = tokio::join!(sending, watching);
    assert!(tags.iter().all(|tag| site.is_accelerated(tag)));
    site.assert_targets_are_whole();
    site.assert_accelerated(&tags[pushes - 1]);
    service.stop().await;
    memory
}

/// Walks through the list again and again: each task that was accepted before is on one page, once, until all of them
/// are completed.
async fn watched_to_the_end(
    service: &Service,
    accepted: &Mutex<BTreeSet<String>>,
    pushes: usize,
    longest: Duration,
) -> (u64, u64) {
    let (begun, mut early, mut most) = (Instant::now(), None, 0);
    loop {
        let before = accepted.lock().unwrap().clone();
        let rows: Vec<Value> = service.pages("/api/v1/conversions?limit=100").await.concat();
        let ids: BTreeSet<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), rows.len(), "a task is on two pages");
        assert_eq!(before.difference(&ids).count(), 0, "a task that was accepted is on no page");
        let failed: Vec<_> = rows.iter().filter(|row| row["status"] == "FAILED").collect();
        assert!(failed.is_empty(), "{failed:?}");
        let done = rows.iter().filter(|row| row["status"] == "COMPLETED").count();
        let memory = service.resident_kib();
        most = memory.max(most);
        if done * 10 >= pushes {
            early.get_or_insert(memory);
        }
        if done == pushes {
            return (early.unwrap(), most);
        }
        assert!(begun.elapsed() < longest, "{done} of {pushes} are completed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn five_hundred_pushes_at_once_are_accepted_and_all_finish() {
    burst(500, Duration::from_secs(120)).await;
}

#[tokio::test]
#[ignore = "takes minutes: just reliability"]
async fn ten_thousand_pushes_at_once_are_accepted_and_all_finish_in_the_same_memory() {
    let begun = Instant::now();
    let (early, most) = burst(10_000, Duration::from_secs(1800)).await;
    let seconds = begun.elapsed().as_secs();
    println!("reliability: 10000 pushes in {seconds} s, {early} KiB after the first tenth, {most} KiB at most");
    assert!(most < early + (32 << 10), "it grew from {early} to {most} KiB");
}
