//! Lists, pages, filters, retention.

use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::{NewTask, RetryPolicy, Start, State, Status, Task, TaskId};
use futures::future::join_all;

use super::{
    DAY, Fixture, HOUR, MINUTE, admit, created, digest, fail, id, later, policy, push, push_of_own, read, run_and_fail,
    start, start_time,
};
use crate::{ListQuery, Page, StoreError, TaskStore};

async fn list(f: &impl Fixture, query: &ListQuery, now: Timestamp) -> Page {
    f.tasks().list(query, now).await.unwrap()
}

fn ids(page: &Page) -> Vec<TaskId> {
    page.tasks.iter().map(|task| task.id.clone()).collect()
}

fn names(names: &[&str]) -> Vec<TaskId> {
    names.iter().map(|name| id(name)).collect()
}

fn of(limit: usize, cursor: Option<String>) -> ListQuery {
    ListQuery { limit: Some(limit), cursor, ..ListQuery::default() }
}

/// Tasks made a second apart, the last one last.
async fn made(f: &impl Fixture, names: &[&str], now: Timestamp) {
    for (n, name) in (0..).zip(names) {
        created(f.tasks(), push_of_own(name), later(now, Duration::from_secs(n))).await;
    }
}

pub async fn tasks_are_listed_newest_first(f: &impl Fixture) {
    let now = start_time();
    assert_eq!(list(f, &ListQuery::default(), now).await.tasks, []);
    made(f, &["a", "b", "c"], now).await;
    let page = list(f, &ListQuery::default(), now).await;
    assert_eq!((ids(&page), page.next), (names(&["c", "b", "a"]), None));
    assert_eq!(page.tasks[2], read(f.tasks(), &id("a")).await);
}

pub async fn a_page_has_a_thousand_rows_at_most(f: &impl Fixture) {
    let now = start_time();
    let tasks: Vec<Task> = (0..1001).map(|n| Task::new(push_of_own(&n.to_string()), now)).collect();
    for chunk in tasks.chunks(100) {
        assert!(join_all(chunk.iter().map(|task| f.tasks().admit(task))).await.iter().all(Result::is_ok));
    }
    for limit in [None, Some(5000)] {
        let query = ListQuery { limit, ..ListQuery::default() };
        let page = list(f, &query, now).await;
        assert_eq!((page.tasks.len(), page.next.is_some()), (1000, true));
        let rest = list(f, &ListQuery { cursor: page.next.clone(), ..query }, now).await;
        assert_eq!((rest.tasks.len(), rest.next), (1, None));
        assert!(!ids(&page).contains(&rest.tasks[0].id));
    }
}

pub async fn a_cursor_is_not_disturbed_by_new_tasks_or_expired_ones(f: &impl Fixture) {
    let now = start_time();
    made(f, &["a", "b", "c", "d", "e"], now).await;
    let first = list(f, &of(2, None), now).await;
    assert_eq!(ids(&first), names(&["e", "d"]));
    created(f.tasks(), push_of_own("new"), later(now, HOUR)).await;
    let second = list(f, &of(2, first.next.clone()), now).await;
    assert_eq!(ids(&second), names(&["c", "b"]));
    // The task at which the first page ended expires.
    run_and_fail(f.tasks(), &id("d"), later(now, MINUTE)).await;
    let after = later(now, 2 * DAY);
    assert_eq!(ids(&list(f, &of(2, first.next), after).await), names(&["c", "b"]));
    let third = list(f, &of(2, second.next), after).await;
    assert_eq!((ids(&third), third.next), (names(&["a"]), None));
}

pub async fn a_cursor_that_no_list_gave_is_refused(f: &impl Fixture) {
    for cursor in ["", "x", "1.2", "999999999999999999999999999999999999.x", "../../etc"] {
        let listed = f.tasks().list(&of(1, Some(cursor.to_owned())), start_time()).await;
        assert!(matches!(listed, Err(StoreError::BadCursor)), "{cursor}: {listed:?}");
    }
}

pub async fn a_list_filters_by_status(f: &impl Fixture) {
    let now = start_time();
    made(f, &["queued", "running", "failed", "cancelled"], now).await;
    assert_eq!(start(f.tasks(), &id("running"), "a", now).await, Start::Run);
    run_and_fail(f.tasks(), &id("failed"), now).await;
    f.tasks().update(&id("cancelled"), now, |task| Ok(task.cancel(&policy(), now)?)).await.unwrap();
    for (status, expected) in [
        (Status::Processing, names(&["running", "queued"])),
        (Status::Failed, names(&["cancelled", "failed"])),
        (Status::Completed, vec![]),
    ] {
        let query = ListQuery { status: Some(status), ..ListQuery::default() };
        assert_eq!(ids(&list(f, &query, now).await), expected, "{status:?}");
    }
    // Rows that the filter drops must not make a page end early.
    let query = ListQuery { status: Some(Status::Processing), limit: Some(1), ..ListQuery::default() };
    let first = list(f, &query, now).await;
    assert_eq!(ids(&first), names(&["running"]));
    let second = list(f, &ListQuery { cursor: first.next, ..query }, now).await;
    assert_eq!((ids(&second), second.next), (names(&["queued"]), None));
}

pub async fn a_list_filters_by_source_as_written_and_in_full(f: &impl Fixture) {
    let now = start_time();
    let own = NewTask {
        written: "127.0.0.1/p/app".into(),
        source: "harbor.example/p/app:latest".parse().unwrap(),
        ..push("a")
    };
    created(f.tasks(), own, now).await;
    created(f.tasks(), push_of_own("b"), later(now, MINUTE)).await;
    for (source, expected) in [
        ("127.0.0.1", vec!["a"]),
        ("harbor.example/p/app:latest", vec!["a"]),
        ("p/app", vec!["b", "a"]),
        ("h.example/p", vec!["b"]),
        ("none", vec![]),
    ] {
        let query = ListQuery { source: Some(source.to_owned()), ..ListQuery::default() };
        assert_eq!(ids(&list(f, &query, now).await), names(&expected), "{source}");
    }
}

pub async fn a_list_shows_only_what_lies_under_the_visible_prefixes(f: &impl Fixture) {
    let now = start_time();
    let sources = ["h.example/p/app:1", "h.example/p2/app:1", "i.example/p/app:1", "h.example:5000/p/app:1"];
    for (n, source) in (0..).zip(sources) {
        let new = NewTask { source: source.parse().unwrap(), ..push(source) };
        created(f.tasks(), new, later(now, Duration::from_secs(n))).await;
    }
    let [p, p2, other, port] = sources;
    for (visible, expected) in [
        (vec!["h.example"], vec![p2, p]),
        (vec!["h.example/p"], vec![p]),
        (vec!["h.example/p", "i.example"], vec![other, p]),
        (vec!["h.example:5000/p"], vec![port]),
        (vec!["h.example/app"], vec![]),
        (vec![], vec![]),
    ] {
        let visible = Some(visible.into_iter().map(str::to_owned).collect());
        let query = ListQuery { visible, ..ListQuery::default() };
        assert_eq!(ids(&list(f, &query, now).await), names(&expected), "{query:?}");
    }
}

pub async fn a_joined_task_is_listed_by_the_state_of_the_other(f: &impl Fixture) {
    let now = start_time();
    let other = created(f.tasks(), push("other"), now).await;
    let task = created(f.tasks(), NewTask { digest: None, ..push("task") }, later(now, MINUTE)).await;
    start(f.tasks(), &task, "a", later(now, MINUTE)).await;
    let join = |task: &mut Task| Ok(task.join("a", 1, other.clone(), &policy(), now)?);
    f.tasks().update(&task, now, join).await.unwrap();
    assert_eq!(read(f.tasks(), &task).await.state, State::Joined);
    let of_status = |status| ListQuery { status: Some(status), ..ListQuery::default() };
    assert_eq!(ids(&list(f, &of_status(Status::Processing), now).await), names(&["task", "other"]));
    assert_eq!(ids(&list(f, &of_status(Status::Completed), now).await), []);
    start(f.tasks(), &other, "b", now).await;
    fail(f.tasks(), &other, "b", now).await;
    assert_eq!(ids(&list(f, &of_status(Status::Failed), now).await), names(&["task", "other"]));
}

pub async fn finished_tasks_are_kept_for_their_retention(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    run_and_fail(f.tasks(), &id, now).await;
    let last = later(now, DAY - Duration::from_secs(1));
    assert!(f.tasks().get(&id, last).await.unwrap().is_some());
    assert_eq!(f.tasks().get(&id, later(now, DAY)).await.unwrap(), None);
}

pub async fn the_retention_of_finished_tasks_is_a_parameter(f: &impl Fixture) {
    let now = start_time();
    let id = created(f.tasks(), push("a"), now).await;
    let policy = RetryPolicy { retention: 10 * DAY, ..policy() };
    start(f.tasks(), &id, "a", now).await;
    f.tasks().update(&id, now, |task| Ok(task.fail("a", 1, "no such image", &policy, now)?)).await.unwrap();
    let last = later(now, 10 * DAY - Duration::from_secs(1));
    assert!(f.tasks().get(&id, last).await.unwrap().is_some());
    assert_eq!(f.tasks().get(&id, later(now, 10 * DAY)).await.unwrap(), None);
}

pub async fn what_has_expired_is_not_listed_and_frees_its_key(f: &impl Fixture) {
    let now = start_time();
    made(f, &["live", "old", "young"], now).await;
    run_and_fail(f.tasks(), &id("old"), now).await;
    run_and_fail(f.tasks(), &id("young"), later(now, HOUR)).await;
    let after = later(now, DAY);
    assert_eq!(ids(&list(f, &ListQuery::default(), after).await), names(&["young", "live"]));
    assert_eq!(ids(&list(f, &ListQuery::default(), later(now, 365 * DAY)).await), names(&["live"]));
    assert_eq!(f.tasks().live(&read(f.tasks(), &id("live")).await.live_key()).await.unwrap(), Some(id("live")));
    let again = admit(f.tasks(), NewTask { digest: Some(digest("old")), ..push("again") }, after).await;
    assert_eq!(again, crate::Admission::Created);
}

pub async fn the_store_can_be_checked(f: &impl Fixture) {
    f.tasks().check().await.unwrap();
}
