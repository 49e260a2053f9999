//! From the event to the tag: the webhook in front, several workers behind.

use std::sync::Arc;
use std::time::Duration;

use accel_domain::Format;
use accel_domain::task::{State, Task};
use accel_image::{Descriptor, media_type};
use accel_pipeline::Stop;
use accel_registry_server::{Action, Registry};
use accel_runtime::http::with_fallbacks;
use accel_runtime::{Clock, Gate, Metrics, Secrets};
use accel_tasks::TaskQueue;
use accel_test_support::{FaultyRegistry, ImageBuilder, IndexBuilder, Request};
use accel_webhook::Webhook;
use axum::Router;
use axum::body::{Body, to_bytes};
use serde_json::json;
use tower::ServiceExt;

use crate::picture::{image, small};
use crate::stage::{APP, Notices, Stage};

/// The webhook in front of a stage.
struct Door(Router);

impl Door {
    fn of(stage: &Stage) -> Self {
        let (config, store) = (stage.config(), Arc::clone(&stage.store));
        let (clock, metrics) = (Clock::default(), Metrics::new());
        let gate = Arc::new(Gate::new(&config, Arc::new(Secrets::new(clock.clone())), clock.clone()));
        let webhook = Webhook::new(config, Arc::clone(&store), store, gate, metrics, clock);
        Self(with_fallbacks(accel_webhook::router(webhook)))
    }

    /// Tells of a push as Harbor does; `key` is a tag, or a digest. How many tasks stand for it.
    async fn pushed(&self, stage: &Stage, repository: &str, key: &str, operator: &str) -> usize {
        let digest = stage.content().manifest(repository, key).map(|stored| stored.digest.to_string());
        let sign = if key.starts_with("sha256:") { '@' } else { ':' };
        let url = format!("{}/{repository}{sign}{key}", stage.registry.host());
        self.send(&json!({
            "type": "PUSH_ARTIFACT",
            "occur_at": 1_756_000_000,
            "operator": operator,
            "event_data": {"resources": [{"digest": digest, "tag": key, "resource_url": url}]},
        }))
        .await
    }

    /// Asks for a conversion as acceld's command line does: without a digest.
    async fn asked(&self, stage: &Stage, image: &str) -> usize {
        let url = format!("{}/{image}", stage.registry.host());
        self.send(&json!({"type": "PUSH_ARTIFACT", "event_data": {"resources": [{"resource_url": url}]}})).await
    }

    async fn send(&self, event: &serde_json::Value) -> usize {
        let request = http::Request::post("/api/v1/conversions").header("content-type", "application/json");
        let request = request.body(Body::from(event.to_string())).unwrap();
        let answer = self.0.clone().oneshot(request).await.unwrap();
        let tasks = answer.headers().get("x-accel-task-id").map_or(0, |ids| ids.to_str().unwrap().split(',').count());
        let (status, body) = (answer.status(), to_bytes(answer.into_body(), 4096).await.unwrap());
        assert_eq!((status.as_u16(), &body[..]), (200, &b"\"Ok\"\n"[..]));
        tasks
    }
}

/// Works as several processes do, until every task has ended; all tasks.
async fn work(stage: &Stage, processes: usize) -> Vec<Task> {
    let worker = async || {
        let converter = stage.converter();
        while stage.tasks().await.iter().any(|task| task.state.is_live()) {
            let next = stage.store.receive(Duration::from_millis(50), Duration::from_secs(60)).await.unwrap();
            if let Some(received) = next {
                Box::pin(converter.settle(&received.message, &Stop::new())).await;
                stage.store.acknowledge(&received.receipt).await.unwrap();
            }
        }
    };
    futures::future::join_all((0..processes).map(|_| worker())).await;
    stage.tasks().await
}

fn assert_none_failed(tasks: &[Task]) {
    let failed: Vec<_> = tasks.iter().filter(|task| task.state == State::Failed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn in_state(tasks: &[Task], state: State) -> usize {
    tasks.iter().filter(|task| task.state == state).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_ten_requests_for_one_image_are_one_conversion() {
    let stage = Stage::new().await.with_running_clock();
    image().push(stage.content(), APP, Some("1"));
    let door = Door::of(&stage);
    assert_eq!(door.asked(&stage, "library/app:1").await, 1);
    let (tasks, ()) = tokio::join!(work(&stage, 4), async {
        for _ in 0..9 {
            assert_eq!(door.asked(&stage, "library/app:1").await, 1);
        }
    });
    assert_none_failed(&tasks);
    let tasks = work(&stage, 4).await;
    assert_none_failed(&tasks);
    assert_eq!(in_state(&tasks, State::Completed), 1, "{tasks:#?}");
    for layer in stage.manifest(APP, "1").layers {
        let digest = layer.digest.to_string();
        let got = stage.registry.requests_of(Request::BlobGet);
        assert_eq!(got.iter().filter(|seen| seen.path.contains(&digest)).count(), 1);
    }
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn c15_a_delivery_that_comes_three_times_is_one_task() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let door = Door::of(&stage);
    for _ in 0..2 {
        assert_eq!(door.pushed(&stage, APP, "1", "somebody").await, 1);
    }
    let id = stage.tasks().await[0].id.clone();
    assert_eq!(stage.finish(&id).await.state, State::Completed);
    assert_eq!(door.pushed(&stage, APP, "1", "somebody").await, 1);
    assert_eq!(stage.tasks().await.len(), 1, "it is known even after its task has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_different_images_on_one_base_are_converted_at_the_same_time() {
    let stage = Stage::new().await.with_running_clock();
    let door = Door::of(&stage);
    let repositories = ["library/nginx", "library/alpine", "library/busybox"];
    for (number, repository) in (10..).zip(repositories) {
        let image = ImageBuilder::new().layer(&small(1)).layer(&small(number));
        image.push(stage.content(), repository, Some("1"));
        assert_eq!(door.asked(&stage, &format!("{repository}:1")).await, 1);
    }
    let tasks = work(&stage, 3).await;
    assert_none_failed(&tasks);
    assert_eq!(in_state(&tasks, State::Completed), 3);
    for repository in repositories {
        stage.assert_same_files(repository, "1", "1-esgz");
    }
}

#[tokio::test]
async fn c16_the_events_of_a_multi_arch_push_make_one_target_tag() {
    let (stage, notices) = heard().await;
    let (content, door) = (stage.content(), Door::of(&stage));
    let one = ImageBuilder::new().layer(&small(1)).push(content, APP, None);
    let other = ImageBuilder::new().platform("linux/arm64").layer(&small(2)).push(content, APP, None);
    let index = IndexBuilder::new().image(&one).image(&other);
    let index = index.attestation(content, APP, &one).attestation(content, APP, &other);
    index.push(content, APP, Some("latest"));
    for key in content.manifests(APP) {
        assert_eq!(door.pushed(&stage, APP, &key.to_string(), "somebody").await, 0, "a child, or the index by digest");
    }
    assert_eq!(door.pushed(&stage, APP, "latest", "somebody").await, 1);
    settle_echoes(&stage, &door, &notices).await;
    assert_eq!(content.tags(APP), ["latest", "latest-esgz"]);
    let entries = stage.index(APP, "latest-esgz").manifests;
    assert_eq!((entries.len(), entries.iter().any(Descriptor::is_attestation)), (2, false));
}

#[tokio::test]
async fn c17_what_is_no_image_for_use_is_ignored() {
    let (stage, notices) = heard().await;
    let (content, door) = (stage.content(), Door::of(&stage));
    let image = image().push(content, APP, Some("1"));
    let hex = image.manifest.digest.hex();
    let put = |key: &str, config: &str| {
        let blob = content.put_blob(APP, "{}");
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "layers": [],
            "config": {"mediaType": config, "digest": blob, "size": 2}});
        content.put_manifest(APP, key, media_type::OCI_MANIFEST, manifest.to_string()).to_string()
    };
    let by_tag = [format!("sha256-{hex}.sig"), format!("sha256-{hex}.att"), format!("sha256-{hex}.sbom")];
    for tag in by_tag.iter().chain([&format!("sha256-{hex}")]) {
        put(tag, media_type::OCI_CONFIG);
        assert_eq!(door.pushed(&stage, APP, tag, "somebody").await, 0, "{tag}");
    }
    let sbom = put("sbom", "application/vnd.example.sbom.v1+json");
    assert_eq!(door.pushed(&stage, APP, &sbom, "somebody").await, 0, "by digest");
    put("chart", "application/vnd.cncf.helm.config.v1+json");
    assert_eq!(door.pushed(&stage, APP, "chart", "somebody").await, 1, "only its manifest tells");
    let before = content.tags(APP);
    settle_echoes(&stage, &door, &notices).await;
    let task = stage.tasks().await.remove(0);
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, "not a container image"));
    assert_eq!(content.tags(APP), before);
}

#[tokio::test]
async fn c17_our_own_pushes_do_not_go_round() {
    for operator in ["accel", "somebody who shares our account"] {
        let (stage, notices) = heard().await;
        let door = Door::of(&stage);
        let one = ImageBuilder::new().layer(&small(1)).push(stage.content(), APP, None);
        IndexBuilder::new().image(&one).push(stage.content(), APP, Some("1"));
        assert_eq!(door.pushed(&stage, APP, "1", "somebody").await, 1);
        for _ in 0..5 {
            let ids: Vec<_> = stage.tasks().await.into_iter().map(|task| task.id).collect();
            for id in ids {
                stage.finish(&id).await;
            }
            for notice in notices.take() {
                let key = notice.tag.unwrap_or_else(|| notice.digest.to_string());
                door.pushed(&stage, &notice.repository, &key, operator).await;
            }
        }
        let tasks = stage.tasks().await;
        assert_eq!((in_state(&tasks, State::Completed), tasks.len() <= 2), (1, true), "{operator}: {tasks:#?}");
        assert_eq!(stage.content().tags(APP), ["1", "1-esgz"], "{operator}");
    }
}

/// A stage whose registry tells of every push.
async fn heard() -> (Stage, Notices) {
    let notices = Notices::default();
    let registry = Registry::default().on_change(notices.hear());
    (Stage::on(FaultyRegistry::serve(registry).await), notices)
}

/// Ends all tasks, tells of the pushes that they made, and so on until it is quiet.
async fn settle_echoes(stage: &Stage, door: &Door, notices: &Notices) {
    for _ in 0..5 {
        for task in stage.tasks().await {
            stage.finish(&task.id).await;
        }
        for notice in notices.take() {
            assert_eq!(notice.action, Action::Push);
            let key = notice.tag.unwrap_or_else(|| notice.digest.to_string());
            door.pushed(stage, &notice.repository, &key, "somebody").await;
        }
    }
    assert_eq!(notices.take(), []);
    assert!(stage.tasks().await.iter().all(|task| !task.state.is_live()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_a_push_becomes_a_nydus_image_beside_its_source() {
    let stage = Stage::new().await.with_running_clock().making(Format::Nydus);
    let door = Door::of(&stage);
    let source = image().push(stage.content(), APP, Some("latest"));
    assert_eq!(door.pushed(&stage, APP, "latest", "admin").await, 1);
    let tasks = work(&stage, 2).await;
    let states: Vec<_> = tasks.iter().map(|task| (task.state, task.reason.as_str())).collect();
    assert_eq!(
        (states, stage.content().tags(APP)),
        (vec![(State::Completed, "")], vec!["latest".into(), "latest-nydus".into()])
    );
    let listed = stage.content().referrers(APP, source.manifest.digest);
    assert_eq!(
        listed.iter().map(|one| Some(one.digest)).collect::<Vec<_>>(),
        [stage.digest("library/app:latest-nydus")]
    );
}
