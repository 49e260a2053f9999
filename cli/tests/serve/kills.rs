//! `kill -9`: nothing is lost, nothing is done twice, nobody sees a half of anything.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use accel_test_support::{Fault, ImageBuilder, Request, Rule};
use futures::StreamExt as _;

use crate::service::{PATIENCE, Service, Signal, send};
use crate::site::{REPOSITORY, Site};

const LAYERS: usize = 6;

/// A layer takes about an eighth of a second.
fn slow() -> Rule {
    Rule::on(Request::BlobGet, Fault::Slow { piece: 8 << 10, pause: Duration::from_millis(20) })
}

/// Waits until the registry was asked `count` things, or all images are done.
async fn asked(site: &Site, tags: &[String], count: usize) {
    let before = site.registry.requests().len();
    PATIENCE
        .until("work goes on", async || {
            let done = tags.iter().all(|tag| site.is_accelerated(tag));
            (done || site.registry.requests().len() >= before + count).then_some(())
        })
        .await;
}

/// Waits until no task would use its last attempt if the service died now: one that dies five times without finishing
/// a layer is given up, as it should be.
async fn nobody_is_at_the_last_attempt(service: &Service) {
    PATIENCE
        .until("the unlucky end", async || {
            let tasks = service.tasks().await;
            tasks.iter().all(|task| task["status"] != "PROCESSING" || task["attempts"] != 4).then_some(())
        })
        .await;
}

/// The tasks of the list, each listed once.
async fn listed(service: &Service) -> BTreeSet<String> {
    let tasks = service.tasks().await;
    let ids: BTreeSet<String> = tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), tasks.len(), "{tasks:?}");
    ids
}

/// Kills the service so often while it converts so many images.
async fn kills_lose_nothing(kills: usize, images: usize) {
    let mut random = fastrand::Rng::with_seed(7);
    let site = Site::new().await;
    let tags: Vec<String> = (0..images).map(|image| format!("v{image}")).collect();
    for tag in &tags {
        site.image(tag, LAYERS);
    }
    site.registry.rule(slow());
    let mut accepted = BTreeSet::new();
    let mut service = site.serve().await;
    for _ in 0..kills {
        for tag in tags.iter().skip(accepted.len()).take(2) {
            accepted.insert(service.push(&site, tag).await);
        }
        asked(&site, &tags, random.usize(8..30)).await;
        nobody_is_at_the_last_attempt(&service).await;
        service.kill().await;
        site.assert_targets_are_whole();
        service = site.serve().await;
        assert_eq!(listed(&service).await, accepted);
    }
    assert!(tags.iter().any(|tag| !site.is_accelerated(tag)), "the kills came too late to mean anything");
    for id in &accepted {
        service.completed(id).await;
    }
    assert_eq!(listed(&service).await, accepted);
    site.assert_targets_are_whole();
    site.registry.clear_rules();
    for tag in &tags {
        site.assert_accelerated(tag);
        site.assert_verified(tag).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn ten_kills_lose_nothing() {
    kills_lose_nothing(10, 8).await;
}

#[tokio::test]
#[ignore = "takes minutes: just reliability"]
async fn a_hundred_kills_lose_nothing() {
    kills_lose_nothing(100, 80).await;
    println!("reliability: 100 kills over 80 images of {LAYERS} layers survived");
}

#[tokio::test]
async fn an_event_that_was_answered_is_never_lost() {
    const EVENTS: usize = 200;
    let site = Site::new().await;
    let tags: Vec<String> = (0..EVENTS).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        ImageBuilder::noisy("same", 1).push(site.content(), REPOSITORY, Some(tag));
    }
    let mut service = site.serve().await;
    let answered = Mutex::new(BTreeSet::new());
    let events = tags.iter().map(|tag| send(service.event(&site.event(tag))));
    let sending = futures::stream::iter(events).buffer_unordered(16).for_each(|answer| {
        answered.lock().unwrap().extend(answer.into_iter().flat_map(|answer| answer.tasks));
        std::future::ready(())
    });
    let killing = async {
        PATIENCE
            .until("some are answered", async || (answered.lock().unwrap().len() >= EVENTS / 4).then_some(()))
            .await;
        service.signal(Signal::Kill);
    };
    tokio::join!(sending, killing);
    assert_eq!(service.exit_code().await, None);
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() < EVENTS, "the kill came too late to mean anything");

    let service = site.serve().await;
    let listed = listed(&service).await;
    assert_eq!(answered.difference(&listed).count(), 0);
    for id in &answered {
        service.completed(id).await;
    }
}

#[tokio::test]
async fn a_kill_after_a_finished_layer_uses_no_attempt() {
    let site = Site::new().await;
    let image = site.image("v1", 2);
    let stalled = Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }).path(image.layers[1].digest);
    site.registry.rule(stalled);
    let service = site.serve().await;
    let id = service.push(&site, "v1").await;
    PATIENCE
        .until("a layer is finished", async || (service.task(&id).await["layers_converted"] == 1).then_some(()))
        .await;
    service.kill().await;

    site.registry.clear_rules();
    let service = site.serve().await;
    let task = service.completed(&id).await;
    assert_eq!(
        (&task["attempts"], &task["layers_reused"], &task["layers_converted"]),
        (&0.into(), &1.into(), &1.into())
    );
}

#[tokio::test]
async fn a_kill_before_any_layer_is_finished_uses_one_and_nobody_waits_for_the_dead() {
    let site = Site::new().await;
    site.image("v1", 1);
    site.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }));
    let service = site.serve().await;
    let id = service.push(&site, "v1").await;
    site.registry.stalled(1).await;
    service.kill().await;

    site.registry.clear_rules();
    let service = site.serve().await;
    let task = service.completed(&id).await;
    assert_eq!(task["attempts"], 1, "{task}");
    assert!(task["duration_seconds"].as_f64().unwrap() < 40.0, "it waited for a lease to end: {task}");
}

#[tokio::test]
async fn a_kill_while_the_tag_moves_holds_no_tag_back() {
    let site = Site::new().await;
    site.image("v1", 1);
    let tagged = Rule::on(Request::ManifestPut, Fault::Hang).path("/manifests/v1-esgz");
    site.registry.rule(tagged);
    let service = site.serve().await;
    let id = service.push(&site, "v1").await;
    site.registry.stalled(1).await;
    service.kill().await;
    assert!(site.content().manifest(REPOSITORY, "v1-esgz").is_none());

    site.registry.clear_rules();
    let service = site.serve().await;
    let task = service.completed(&id).await;
    assert!(task["duration_seconds"].as_f64().unwrap() < 40.0, "it waited for a lease to end: {task}");
    site.assert_accelerated("v1");
}
