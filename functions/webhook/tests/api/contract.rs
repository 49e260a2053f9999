//! acceld's contract, case by case; where Accel differs on purpose, the test says so.

use serde_json::json;

use crate::app::{App, CONVERSIONS, HOOK, LIBRARY, OPEN, complete, event, post, pushed};

const APP: &str = "harbor.example.com/library/app:v1";

#[tokio::test]
async fn c01_a_valid_event_is_ok_and_its_row_appears_processing() {
    let app = App::new();
    let answer = app.push(Some(HOOK), pushed(&[APP])).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!((answer.body.len(), answer.header("content-type")), (5, Some("application/json")));
    let rows = app.ask("GET", CONVERSIONS, Some(HOOK)).await.json();
    assert_eq!(rows[0]["status"], "PROCESSING");
    assert_eq!(rows[0]["source"], APP);
    assert_eq!(rows[0]["target"], "harbor.example.com/library/app:v1-esgz");
    assert_eq!(rows[0]["id"], answer.header("x-accel-task-id").unwrap());
    assert_eq!(app.message().await.message.task, answer.ids()[0]);
    assert!(app.tasks().await[0].work.enqueued_at.is_some());
}

#[tokio::test]
async fn c02_another_type_is_ok_and_makes_no_row() {
    let app = App::new();
    for body in [event("PULL_ARTIFACT", "x", 1, &[APP]), json!({ "type": "SCANNING_COMPLETED" })] {
        let answer = app.push(Some(HOOK), body).await;
        assert!(answer.is_ok() && answer.ids().is_empty(), "{answer:?}");
    }
    assert!(app.tasks().await.is_empty());
}

#[tokio::test]
async fn c03_malformed_json_or_a_wrong_content_type_is_400() {
    let app = App::new();
    let good = pushed(&[APP]).to_string();
    let rows = [
        ("application/json", "{"),
        ("text/plain", &good),
        ("application/x-www-form-urlencoded", &good),
        ("application/json", "[1]"),
        // acceld answers 200 to an empty body.
        ("application/json", ""),
    ];
    for (content_type, body) in rows {
        let answer = app.send(post(CONVERSIONS, Some(HOOK), content_type, body.to_owned())).await;
        assert!(answer.is_error(400, "ERR_ILLEGAL_PARAMETER", "invalid webhook payload"), "{body}: {answer:?}");
    }
    assert!(app.tasks().await.is_empty());
}

#[tokio::test]
async fn c04_a_bad_resource_url_is_400() {
    let app = App::new();
    // acceld takes `nginx` for a host.
    for url in ["nginx:latest", "nginx", "harbor.example.com/library/a b:1", "://", "user:pw@harbor.example.com/p/r:1"]
    {
        let answer = app.push(Some(HOOK), pushed(&[url])).await;
        assert!(answer.is_error(400, "ERR_ILLEGAL_PARAMETER", "failed to parse resource url"), "{url}: {answer:?}");
        assert!(!answer.body.contains("pw@"), "{answer:?}");
    }
}

#[tokio::test]
async fn c05_a_wrong_header_is_401() {
    let app = App::new();
    for header in ["wrong", "hook-secret ", "Bearer hook-secret", "HOOK-SECRET", ""] {
        let answer = app.push(Some(header), pushed(&[APP])).await;
        assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{header}: {answer:?}");
    }
    assert!(app.tasks().await.is_empty());
}

/// acceld lets everybody pass who sends no header.
#[tokio::test]
async fn c06_no_header_is_401_where_a_secret_is_configured() {
    let app = App::new();
    assert!(app.push(None, pushed(&[APP])).await.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"));
    let open = App::with(OPEN, accel_webhook::SyncWait::default());
    assert!(open.push(None, pushed(&[APP])).await.is_ok());
}

#[tokio::test]
async fn c07_an_unknown_host_is_answered_as_a_bad_secret_is() {
    let app = App::new();
    let unknown = app.push(Some(HOOK), pushed(&["unknown.example.com/library/app:v1"])).await;
    let wrong = app.push(Some("wrong"), pushed(&[APP])).await;
    assert!(unknown.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"));
    assert_eq!(unknown.body, wrong.body);
    let open = App::with(OPEN, accel_webhook::SyncWait::default());
    let answer = open.push(None, pushed(&["169.254.169.254:80/latest/meta-data:v1"])).await;
    assert!(answer.is_error(401, "ERR_UNAUTHORIZED", ""), "{answer:?}");
}

#[tokio::test]
async fn c08_one_resource_that_is_not_covered_starts_nothing() {
    let app = App::new();
    for other in ["other.example.com/library/app:v1", "harbor.example.com/private/app:v1"] {
        let answer = app.push(Some(LIBRARY), pushed(&[APP, other])).await;
        assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{other}: {answer:?}");
        assert!(app.tasks().await.is_empty(), "{other}");
    }
    assert!(app.push(Some(LIBRARY), pushed(&[APP])).await.is_ok());
}

/// acceld answers 500 with an empty body.
#[tokio::test]
async fn c09_missing_event_data_or_a_null_resource_is_400() {
    let app = App::new();
    let rows = [
        json!({ "type": "PUSH_ARTIFACT" }),
        json!({ "type": "PUSH_ARTIFACT", "event_data": null }),
        json!({ "type": "PUSH_ARTIFACT", "event_data": {} }),
        json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [null] } }),
    ];
    for body in rows {
        let answer = app.push(Some(HOOK), &body).await;
        assert!(answer.is_error(400, "ERR_ILLEGAL_PARAMETER", "event_data"), "{body}: {answer:?}");
    }
    let none = json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [] } });
    assert!(app.push(Some(HOOK), none).await.is_ok());
}

#[tokio::test]
async fn c10_an_unknown_path_or_method_is_404() {
    let app = App::new();
    let rows = [
        ("GET", "/"),
        ("GET", "/api/v1/nothing"),
        ("PUT", CONVERSIONS),
        ("DELETE", CONVERSIONS),
        ("PATCH", "/api/v1/conversions/1"),
        ("GET", "/api/v1/conversions/1/retry"),
        ("POST", "/api/v1/health"),
        ("POST", "/metrics"),
    ];
    for (method, path) in rows {
        let answer = app.ask(method, path, Some(HOOK)).await;
        assert!(answer.is_error(404, "ERR_INVALID_ENDPOINT", "Endpoint not found"), "{method} {path}: {answer:?}");
    }
}

/// acceld lists a COMPLETED task of no bytes for each push of its own. Only echoes are dropped here: such a tag pushed
/// by somebody else makes a task, which the converter ends by the image's marker.
#[tokio::test]
async fn c13_the_echo_of_our_own_push_makes_no_task() {
    let app = App::new();
    let target = "harbor.example.com/library/app:v1-esgz";
    let echo = event("PUSH_ARTIFACT", "robot$accel", 1, &[target]);
    let answer = app.push(Some(HOOK), echo).await;
    assert!(answer.is_ok() && answer.ids().is_empty());
    assert!(app.tasks().await.is_empty());
    assert!(app.push(Some(HOOK), event("PUSH_ARTIFACT", "robot$accel", 1, &[APP])).await.is_ok());
    assert!(app.push(Some(HOOK), pushed(&[target])).await.is_ok());
    assert_eq!(app.tasks().await.len(), 2);
}

/// acceld answers 400.
#[tokio::test]
async fn c14_a_cloudevents_body_is_accepted() {
    let app = App::new();
    let body = include_str!("../../payloads/cloudevents_push.json").to_owned();
    let answer = app.send(post(CONVERSIONS, Some(HOOK), "application/cloudevents+json", body)).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(app.tasks().await[0].source.to_string(), "harbor.example.com/library/team/app:v1.2.3");
}

#[tokio::test]
async fn c15_the_same_event_three_times_is_one_task() {
    let app = App::new();
    let first = app.push(Some(HOOK), pushed(&[APP])).await.ids();
    assert_eq!(app.push(Some(HOOK), pushed(&[APP])).await.ids(), first);
    app.convert(complete).await;
    assert_eq!(app.push(Some(HOOK), pushed(&[APP])).await.ids(), first, "also once it has ended");
    assert_eq!(app.tasks().await.len(), 1);
    let later = app.push(Some(HOOK), event("PUSH_ARTIFACT", "somebody", 1_756_000_001, &[APP])).await.ids();
    assert_ne!(later, first, "a later push is another delivery");
}

#[tokio::test]
async fn c16_a_push_for_many_platforms_is_one_task() {
    let app = App::new();
    let children = ["b", "c", "d"].map(|hex| format!("harbor.example.com/library/app@sha256:{}", hex.repeat(64)));
    for child in &children {
        assert!(app.push(Some(HOOK), pushed(&[child])).await.is_ok());
    }
    assert!(app.push(Some(HOOK), pushed(&[APP])).await.is_ok());
    let tasks = app.tasks().await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].target.to_string(), "harbor.example.com/library/app:v1-esgz");
}

/// A Helm chart with a tag looks like an image in an event: the converter refuses it by its media type.
#[tokio::test]
async fn c17_converted_children_and_signatures_are_ignored() {
    let app = App::new();
    let hex = "e".repeat(64);
    let rows = [
        format!("harbor.example.com/library/app@sha256:{hex}"),
        format!("harbor.example.com/library/app:sha256-{hex}"),
        format!("harbor.example.com/library/app:sha256-{hex}.sig"),
        format!("harbor.example.com/library/app:sha256-{hex}.att"),
        format!("harbor.example.com/library/app:sha256-{hex}.sbom"),
    ];
    for url in rows {
        let answer = app.push(Some(HOOK), pushed(&[&url])).await;
        assert!(answer.is_ok() && answer.ids().is_empty(), "{url}: {answer:?}");
    }
    assert!(app.tasks().await.is_empty());
}
