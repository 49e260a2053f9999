//! Running a task again, and cancelling it.

use accel_domain::Timestamp;
use accel_domain::task::RetryPolicy;
use accel_domain::task::{Phase, State};

use crate::app::{ADMIN, App, CONVERSIONS, HOOK, LIBRARY, OTHER, OWNER, complete, event, fail, pushed};

const APP: &str = "harbor.example.com/private/app:v1";

async fn one_task(app: &App) -> String {
    app.push(Some(HOOK), pushed(&[APP])).await.header("x-accel-task-id").unwrap().to_owned()
}

fn retry(id: &str) -> String {
    format!("{CONVERSIONS}/{id}/retry")
}

#[tokio::test]
async fn a_failed_task_runs_again_from_the_beginning() {
    let app = App::new();
    let id = one_task(&app).await;
    app.convert(fail).await;
    let answer = app.ask("POST", &retry(&id), Some(HOOK)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &"PROCESSING".into()), "{answer:?}");
    let again = app.convert(complete).await;
    assert_eq!((again.generation, again.state), (2, State::Completed));
}

#[tokio::test]
async fn a_running_task_is_not_run_twice() {
    let app = App::new();
    let id = one_task(&app).await;
    app.change(&id.parse().unwrap(), |task| {
        task.start(1, OWNER, &RetryPolicy::default(), Timestamp::now());
    })
    .await;
    let answer = app.ask("POST", &retry(&id), Some(HOOK)).await;
    assert!(answer.is_error(409, "ERR_CONFLICT", "the task is running"), "{answer:?}");
}

#[tokio::test]
async fn a_task_whose_work_another_has_taken_over_is_not_run_beside_it() {
    let app = App::new();
    let id = one_task(&app).await;
    app.convert(fail).await;
    let newer = app.push(Some(HOOK), event("PUSH_ARTIFACT", "x", 2, &[APP])).await.ids().remove(0);
    let answer = app.ask("POST", &retry(&id), Some(HOOK)).await;
    assert!(answer.is_error(409, "ERR_CONFLICT", &newer.to_string()), "{answer:?}");
}

#[tokio::test]
async fn a_queued_task_is_cancelled_at_once_and_a_running_one_soon() {
    let app = App::new();
    let id = one_task(&app).await;
    let path = format!("{CONVERSIONS}/{id}");
    for _ in 0..2 {
        let answer = app.ask("DELETE", &path, Some(HOOK)).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &"FAILED".into()), "{answer:?}");
        assert_eq!(answer.json()["reason"], "cancelled");
    }
    app.ask("POST", &retry(&id), Some(HOOK)).await;
    app.change(&id.parse().unwrap(), |task| {
        task.start(2, OWNER, &RetryPolicy::default(), Timestamp::now());
    })
    .await;
    let answer = app.ask("DELETE", &path, Some(HOOK)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &"PROCESSING".into()), "{answer:?}");
    let task = app.tasks().await.remove(0);
    assert!(task.cancel_requested && task.phase != Phase::Done);
}

#[tokio::test]
async fn a_completed_task_cannot_be_cancelled() {
    let app = App::new();
    let id = one_task(&app).await;
    app.convert(complete).await;
    let answer = app.ask("DELETE", &format!("{CONVERSIONS}/{id}"), Some(HOOK)).await;
    assert!(answer.is_error(409, "ERR_CONFLICT", "the task has ended"), "{answer:?}");
}

#[tokio::test]
async fn tasks_that_the_header_does_not_cover_are_not_there() {
    let app = App::new();
    let id = one_task(&app).await;
    for (method, path) in [("POST", retry(&id)), ("DELETE", format!("{CONVERSIONS}/{id}"))] {
        for auth in [LIBRARY, OTHER] {
            let answer = app.ask(method, &path, Some(auth)).await;
            assert!(answer.is_error(404, "ERR_NOT_FOUND", "there is no task"), "{method} {auth}: {answer:?}");
        }
        for auth in [None, Some("wrong")] {
            let answer = app.ask(method, &path, auth).await;
            assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{method} {auth:?}: {answer:?}");
        }
    }
    assert_eq!(app.tasks().await[0].generation, 1);
    assert_eq!(app.ask("DELETE", &format!("{CONVERSIONS}/{id}"), Some(ADMIN)).await.status, 200);
}

#[tokio::test]
async fn what_is_no_id_names_no_task() {
    let app = App::new();
    let paths = ["1", "%00", "%ff", "..%2F..", "00000000-0000-0000-0000-000000000000"];
    for id in paths {
        let answer = app.ask("DELETE", &format!("{CONVERSIONS}/{id}"), Some(ADMIN)).await;
        assert!(answer.is_error(404, "ERR_NOT_FOUND", "task"), "{id}: {answer:?}");
    }
}
