//! Running a task again, and cancelling it.

use crate::ask::{Answer, Ask};
use crate::events::harbor;
use crate::target::{Key, PATIENCE, Target};

async fn retry(target: &Target, id: &str, key: Key) -> Answer {
    target.ask(Ask::new("POST", path(id) + "/retry").auth(key)).await
}

async fn cancel(target: &Target, id: &str, key: Key) -> Answer {
    target.ask(Ask::new("DELETE", path(id)).auth(key)).await
}

fn path(id: &str) -> String {
    format!("/api/v1/conversions/{id}")
}

pub(super) async fn a_failed_task_runs_again(target: &Target) {
    let repository = "library/retried";
    let id = target.task(&harbor(&[&target.push_broken(repository, "v1")], 0)).await;
    let row = target.ended(&id).await;
    assert!(row["status"] == "FAILED" && row["reason"] != "", "{row}");

    target.push(repository, "v1", 1);
    let answer = retry(target, &id, Key::Hook).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &"PROCESSING".into()), "{answer:?}");
    let location = answer.header("location").unwrap_or_default();
    assert_eq!(target.resolve(&(path(&id) + "/retry"), location), path(&id));
    target.completed(&id).await;
    assert!(target.content().manifest(repository, "v1-esgz").is_some());
}

pub(super) async fn a_running_task_is_cancelled_and_never_run_twice(target: &Target) {
    let repository = "library/cancelled";
    target.slow(repository);
    target.push(repository, "v1", 1);
    let pushed = target.pushed(repository, "v1");
    let id = target.task(&harbor(&[&pushed], 0)).await;
    let runs = async || (target.shown(&id).await["phase"] == "convert").then_some(());
    PATIENCE.until("it runs", runs).await;
    let answer = retry(target, &id, Key::Hook).await;
    assert!(answer.is_error(409, "ERR_CONFLICT", "the task is running"), "{answer:?}");

    let answer = cancel(target, &id, Key::Hook).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"PROCESSING".into()), "{answer:?}");
    let row = target.ended(&id).await;
    assert_eq!((&row["status"], &row["reason"]), (&"FAILED".into(), &"cancelled".into()));
    let answer = cancel(target, &id, Key::Hook).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"FAILED".into()), "{answer:?}");
    assert!(target.content().manifest(repository, "v1-esgz").is_none());

    let newer = target.task(&harbor(&[&pushed], 1)).await;
    let answer = retry(target, &id, Key::Hook).await;
    assert!(answer.is_error(409, "ERR_CONFLICT", &newer), "{answer:?}");
    assert_eq!(cancel(target, &newer, Key::Admin).await.status, 200);
}

pub(super) async fn a_completed_task_cannot_be_cancelled(target: &Target) {
    target.push("library/completed", "v1", 1);
    let id = target.task(&harbor(&[&target.pushed("library/completed", "v1")], 0)).await;
    target.completed(&id).await;
    let answer = cancel(target, &id, Key::Hook).await;
    assert!(answer.is_error(409, "ERR_CONFLICT", "the task has ended"), "{answer:?}");
    target.completed(&id).await;
}

pub(super) async fn others_tasks_are_not_there(target: &Target) {
    target.push("private/theirs", "v1", 1);
    let id = target.task(&harbor(&[&target.pushed("private/theirs", "v1")], 0)).await;
    for key in [Key::Library, Key::Other] {
        for answer in [retry(target, &id, key).await, cancel(target, &id, key).await] {
            assert!(answer.is_error(404, "ERR_NOT_FOUND", "there is no task"), "{key:?}: {answer:?}");
        }
    }
    target.completed(&id).await;
}
