//! Which events make which tasks.

use accel_domain::TaskId;
use accel_domain::task::{State, TaskKind};
use accel_image::Digest;
use accel_webhook::SyncWait;
use futures::future::join_all;
use serde_json::json;

use crate::app::{ADMIN, App, CONVERSIONS, HOOK, complete, event, post, pushed};

const APP: &str = "harbor.example.com/library/app:v1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_event_a_hundred_times_at_once_is_one_task() {
    let app = App::new();
    let answers = join_all((0..100).map(|_| app.push(Some(HOOK), pushed(&[APP])))).await;
    assert!(answers.iter().all(|answer| answer.is_ok()));
    let ids: std::collections::HashSet<_> = answers.iter().flat_map(|answer| answer.ids()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(app.tasks().await.len(), 1);
}

#[tokio::test]
async fn every_format_finds_the_same_live_task() {
    let app = App::new();
    let rows = [
        ("application/json", include_str!("../../payloads/harbor_push.json")),
        ("application/cloudevents+json", include_str!("../../payloads/cloudevents_push.json")),
        ("application/vnd.docker.distribution.events.v1+json", include_str!("../../payloads/distribution.json")),
        ("application/vnd.docker.distribution.events.v2+json", include_str!("../../payloads/distribution.json")),
    ];
    let mut ids: Vec<TaskId> = Vec::new();
    for (content_type, body) in rows {
        let answer = app.send(post(CONVERSIONS, Some(HOOK), content_type, body.to_owned())).await;
        assert!(answer.is_ok(), "{answer:?}");
        ids.push(answer.ids().remove(0));
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn an_event_without_a_digest_makes_a_task_that_has_to_be_resolved() {
    let app = App::new();
    let answer = app.push(Some(HOOK), include_str!("../../payloads/acceld_cli.json")).await;
    assert!(answer.is_ok());
    let task = app.tasks().await.remove(0);
    assert_eq!((task.digest, task.written.as_str()), (None, "harbor.example.com/library/team/app:v1.2.3"));
}

#[tokio::test]
async fn an_alias_is_the_host_that_it_stands_for() {
    let app = App::new();
    assert!(app.push(Some(HOOK), pushed(&["harbor-core/library/app:v1"])).await.is_ok());
    let task = app.tasks().await.remove(0);
    assert_eq!((task.written.as_str(), task.source.to_string().as_str()), ("harbor-core/library/app:v1", APP));
}

#[tokio::test]
async fn what_no_rule_is_for_makes_no_task() {
    let app = App::new();
    let answer = app.push(Some(HOOK), pushed(&["harbor.example.com/library/app:1-dev"])).await;
    assert!(answer.is_ok() && answer.ids().is_empty());
    let long = format!("harbor.example.com/library/app:{}", "a".repeat(128));
    let answer = app.push(Some(HOOK), pushed(&[&long])).await;
    assert!(answer.is_error(400, "ERR_ILLEGAL_PARAMETER", "is not an image reference"), "{answer:?}");
    assert!(app.tasks().await.is_empty());
}

#[tokio::test]
async fn a_deletion_cancels_the_conversion_and_removes_the_target() {
    let app = App::new();
    let converting = app.push(Some(ADMIN), pushed(&[APP])).await.ids().remove(0);
    let deletion = event("DELETE_ARTIFACT", "admin", 1_756_003_600, &[APP]);
    let deleting = app.push(Some(ADMIN), &deletion).await.ids();
    let tasks = app.tasks().await;
    let states: Vec<_> = tasks.iter().map(|task| (task.id.clone(), task.kind, task.state)).collect();
    assert!(states.contains(&(converting, TaskKind::Convert, State::Cancelled)), "{states:?}");
    assert!(states.contains(&(deleting[0].clone(), TaskKind::Delete, State::Queued)), "{states:?}");
    assert_eq!(app.push(Some(ADMIN), &deletion).await.ids(), deleting);
}

#[tokio::test]
async fn a_task_whose_message_was_never_sent_gets_it_from_the_next_delivery() {
    let app = App::new();
    let id = app.push(Some(HOOK), pushed(&[APP])).await.ids().remove(0);
    let lost = app.message().await;
    accel_tasks::TaskQueue::acknowledge(&app.store, &lost.receipt).await.unwrap();
    app.change(&id, |task| task.work.enqueued_at = None).await;
    assert_eq!(app.push(Some(HOOK), pushed(&[APP])).await.ids(), [id]);
    assert_eq!(app.convert(complete).await.state, State::Completed);
}

#[tokio::test]
async fn the_digest_of_the_event_is_the_one_that_is_converted() {
    let app = App::new();
    let digest = Digest::of(b"manifest");
    let resource = json!({ "resource_url": APP, "digest": digest.to_string() });
    let body = json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [resource] } });
    assert!(app.push(Some(HOOK), body).await.is_ok());
    assert_eq!(app.tasks().await[0].digest, Some(digest));
}

#[tokio::test]
async fn a_registry_without_secrets_beside_one_with_is_heard_without_a_header() {
    let text = "
registries:
  open.example.com: {}
  closed.example.com: { webhook_auth: [{ value: hook-secret }] }
rules: [{ convert: [{ format: estargz }] }]
";
    let app = App::with(text, SyncWait::default());
    let (open, closed) = ("open.example.com/p/r:1", "closed.example.com/p/r:1");
    let rows = [
        (None, vec![open], 200),
        (None, vec![closed], 401),
        (None, vec![open, closed], 401),
        (Some("wrong"), vec![closed], 401),
        (Some(HOOK), vec![open, closed], 200),
    ];
    for (auth, urls, status) in rows {
        assert_eq!(app.push(auth, pushed(&urls)).await.status, status, "{auth:?} {urls:?}");
    }
    assert_eq!(app.tasks().await.len(), 2);
    assert_eq!(app.ask("GET", CONVERSIONS, None).await.status, 401);
}

#[tokio::test]
async fn requests_are_counted_by_their_status() {
    let app = App::new();
    app.push(Some(HOOK), pushed(&[APP])).await;
    app.push(Some(HOOK), "{").await;
    app.push(None, pushed(&[APP])).await;
    let page = app.ask("GET", "/metrics", Some(ADMIN)).await.body;
    for code in [200, 400, 401] {
        assert!(page.contains(&format!("webhook_request_total{{code=\"{code}\"}} 1\n")), "{page}");
    }
}
