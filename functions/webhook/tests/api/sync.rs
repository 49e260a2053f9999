//! `sync=true`.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::RetryPolicy;
use accel_webhook::SyncWait;
use axum::body::Body;
use http::{Request, StatusCode};

use serde_json::json;

use crate::app::{Answer, App, HOOK, OPEN, OWNER, complete, fail, post, pushed};

const APP: &str = "harbor.example.com/library/app:v1";

fn sync(value: &str, urls: &[&str]) -> Request<Body> {
    let path = format!("/api/v1/conversions?sync={value}");
    post(&path, Some(HOOK), "application/json", pushed(urls).to_string())
}

/// The answer to a synchronous event whose tasks end one after the other as `ends` say.
async fn answered(app: &App, urls: &[&str], ends: &[fn(&mut accel_domain::Task, accel_domain::Timestamp)]) -> Answer {
    let convert = async {
        for end in ends {
            app.convert(*end).await;
        }
    };
    tokio::join!(app.send(sync("true", urls)), convert).0
}

#[tokio::test]
async fn c12_success_is_200_and_failure_500_with_the_reason() {
    let app = App::new();
    let answer = answered(&app, &[APP], &[complete]).await;
    assert!(answer.is_ok() && answer.ids().len() == 1, "{answer:?}");
    let answer = answered(&app, &["harbor.example.com/library/app:v2"], &[fail]).await;
    assert!(answer.is_error(500, "ERR_CONVERT_FAILED", "the source manifest is gone"), "{answer:?}");
    assert_eq!(answer.ids().len(), 1);
}

#[tokio::test]
async fn all_tasks_are_waited_for_and_the_first_failure_is_told() {
    let app = App::new();
    let urls = ["harbor.example.com/library/app:v1", "harbor.example.com/library/app:v2"];
    let answer = answered(&app, &urls, &[fail, complete]).await;
    assert!(answer.is_error(500, "ERR_CONVERT_FAILED", "the source manifest is gone"), "{answer:?}");
    assert_eq!(answer.ids().len(), 2);
}

#[tokio::test]
async fn a_wait_that_runs_out_is_202_with_the_first_unfinished_task() {
    let app = App::with(OPEN, SyncWait { limit: Some(Duration::from_millis(60)) });
    let answer = app.send(sync("1", &[APP])).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let location = format!("conversions/{}", answer.ids()[0]);
    assert_eq!(answer.header("location"), Some(location.as_str()), "beside the request's path");
    let row = app.ask("GET", &format!("/api/v1/{location}"), Some(HOOK)).await.json();
    assert_eq!(row["status"], "PROCESSING");
}

#[tokio::test]
async fn what_is_no_true_does_not_wait() {
    let app = App::new();
    for (at, value) in ["0", "false", "yes", "", "TrUe", "t%20"].iter().enumerate() {
        let url = format!("harbor.example.com/library/app:{at}");
        assert!(app.send(sync(value, &[&url])).await.is_ok(), "{value}");
    }
    assert_eq!(app.tasks().await.len(), 6);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_task() {
    let app = App::new();
    let waiting = tokio::time::timeout(Duration::from_millis(300), app.send(sync("true", &[APP])));
    assert!(waiting.await.is_err());
    app.convert(complete).await;
    assert_eq!(app.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_task_that_joins_another_is_waited_for_through_it() {
    let app = App::new();
    let other = app.push(Some(HOOK), pushed(&[APP])).await.ids().remove(0);
    app.message().await;
    let resource = json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [{ "resource_url": APP }] } });
    let asked = post("/api/v1/conversions?sync=T", Some(HOOK), "application/json", resource.to_string());
    let convert = async {
        let joined = app.message().await.message.task;
        assert_ne!(joined, other);
        let (policy, now) = (RetryPolicy::default(), Timestamp::now());
        app.change(&joined, |task| {
            task.start(1, OWNER, &policy, now);
            task.join(OWNER, 1, other.clone(), &policy, now).unwrap();
        })
        .await;
        app.change(&other, |task| {
            task.start(1, OWNER, &policy, now);
            fail(task, now);
        })
        .await;
    };
    let answer = tokio::join!(app.send(asked), convert).0;
    assert!(answer.is_error(500, "ERR_CONVERT_FAILED", "the source manifest is gone"), "{answer:?}");
}
