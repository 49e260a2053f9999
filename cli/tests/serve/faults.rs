//! What goes wrong while it serves, and how long finished tasks are listed.

use std::time::Duration;

use accel_domain::{Task, TaskId, Timestamp};
use accel_registry_server::{Auth, Content, Registry, Scheme};
use accel_tasks::{Embedded, TaskStore as _};
use accel_test_support::FaultyRegistry;

use crate::site::{Keys, Site};

#[tokio::test]
async fn a_secret_that_is_not_there_fails_the_task_and_is_named() {
    let registry = Registry::new(Content::default()).with_auth(Auth::new("robot", "s3cret-word", Scheme::Basic));
    let keys = Keys { registry: "username: robot, password: \"${env:ROBOT_SECRET}\"", ..Keys::default() };
    let site = Site::with(FaultyRegistry::serve(registry).await, keys);
    site.image("v1", 1);
    let service = site.serve().await;
    let id = service.push(&site, "v1").await;
    let task = service.ended(&id).await;
    assert_eq!(task["status"], "FAILED", "{task}");
    assert!(task["reason"].as_str().unwrap().contains("ROBOT_SECRET"), "{task}");
    service.stop().await;

    let service = site.serve_with(&[("ROBOT_SECRET", "s3cret-word")]).await;
    let retried = service.request(reqwest::Method::POST, &format!("/api/v1/conversions/{id}/retry"));
    assert_eq!(crate::service::send(retried).await.unwrap().status, 202);
    service.completed(&id).await;
    let said = format!("{:?} {:?}", service.log(), service.tasks().await);
    assert!(!said.contains("s3cret-word"), "{said}");
}

#[tokio::test]
async fn a_wrong_secret_fails_the_task_without_showing_it() {
    let registry = Registry::new(Content::default()).with_auth(Auth::new("robot", "right", Scheme::Basic));
    let keys = Keys { registry: "username: robot, password: \"${env:ROBOT_SECRET}\"", ..Keys::default() };
    let site = Site::with(FaultyRegistry::serve(registry).await, keys);
    site.image("v1", 1);
    let service = site.serve_with(&[("ROBOT_SECRET", "wr0ng-word")]).await;
    let id = service.push(&site, "v1").await;
    let task = service.ended(&id).await;
    assert_eq!(task["status"], "FAILED", "{task}");
    let said = format!("{task} {:?}", service.log());
    assert!(
        task["reason"].as_str().unwrap().contains("the login is not accepted") && !said.contains("wr0ng-word"),
        "{said}"
    );
}

#[tokio::test]
async fn a_password_is_rotated_without_a_restart() {
    for scheme in [Scheme::Basic, Scheme::Bearer { token_ttl: Duration::from_secs(300) }] {
        let registry = Registry::new(Content::default()).with_auth(Auth::new("robot", "first-word", scheme));
        let keys = Keys { registry: "username: robot, password: \"${file:password}\"", ..Keys::default() };
        let site = Site::with(FaultyRegistry::serve(registry).await, keys);
        site.write("password", "first-word\n");
        site.image("v1", 1);
        site.image("v2", 1);
        let service = site.serve().await;
        service.completed(&service.push(&site, "v1").await).await;

        site.write("password", "second-word\n");
        site.registry.registry().change_password("second-word");
        site.registry.registry().expire_tokens();
        let task = service.completed(&service.push(&site, "v2").await).await;
        assert_eq!(task["attempts"], 0, "it is read anew in place: {task}");
        site.assert_accelerated("v2");
        let said = format!("{:?} {:?}", service.log(), service.tasks().await);
        assert!(!said.contains("first-word") && !said.contains("second-word"), "{said}");
        service.stop().await;
    }
}

#[tokio::test]
async fn finished_tasks_are_kept_as_long_as_the_configuration_says() {
    let site = Site::new().await;
    site.configure(Keys { more: "tasks: { retention: 7m }", ..Keys::default() });
    site.image("v1", 1);
    let service = site.serve().await;
    let id = service.push(&site, "v1").await;
    service.completed(&id).await;
    service.stop().await;

    let task: TaskId = id.parse().unwrap();
    let before = Timestamp::now();
    let store = Embedded::open(site.path("state/accel.redb")).unwrap();
    let end = |task: &mut Task| Ok(task.expires.replace(before));
    let (ended, expired) = store.update(&task, before, end).await.unwrap();
    assert_eq!(expired.unwrap().duration_since(ended.finished.unwrap()).as_secs(), 7 * 60);
    drop(store);

    let service = site.serve().await;
    assert_eq!(service.tasks().await, Vec::<serde_json::Value>::new());
    assert_eq!(service.get(&format!("/api/v1/conversions/{id}")).await.status, 404);
    service.stop().await;
    let store = Embedded::open(site.path("state/accel.redb")).unwrap();
    assert_eq!(store.get(&task, Timestamp::MIN).await.unwrap(), None, "it is still on disk");
}
