//! What a purge forgets, and what it leaves.

use redb::ReadableTable;

use super::super::tables::{CREATED, DELIVERIES, EXPIRING, LAYER_USES, LAYERS, LIVE, TARGETS, TASKS, UNITS};
use super::*;
use crate::conformance::{
    DAY, HOUR, MINUTE, admit, created, fanned_out, id, later, policy, push, push_of_own, read, run_and_fail, start,
    start_time, unit_key,
};
use crate::{ListQuery, fail_unit, start_unit};

async fn listed(store: &Embedded, query: &ListQuery, now: Timestamp) -> (Vec<TaskId>, Option<String>) {
    let page = store.list(query, now).await.unwrap();
    (page.tasks.into_iter().map(|task| task.id).collect(), page.next)
}

#[tokio::test]
async fn forgetting_a_task_leaves_its_delivery_to_the_next_one() {
    let Fresh { store, .. } = &fresh().await;
    let now = start_time();
    let delivery = |name| NewTask { delivery: Some("delivery".to_owned()), ..push(name) };
    let first = created(store, delivery("a"), now).await;
    run_and_fail(store, &first, now).await;
    let after = later(now, DAY);
    let second = created(store, delivery("b"), after).await;
    assert_eq!(store.purge(after).await.unwrap(), 1);
    let again = admit(store, delivery("c"), after).await;
    assert!(matches!(&again, Admission::Joined(task) if task.id == second), "{again:?}");
}

#[tokio::test]
async fn a_cursor_outlives_the_task_at_which_its_page_ended() {
    let Fresh { store, .. } = &fresh().await;
    let now = start_time();
    for (n, name) in (0..).zip(["a", "b", "c", "d", "e"]) {
        created(store, push_of_own(name), later(now, Duration::from_secs(n))).await;
    }
    let of = |cursor| ListQuery { limit: Some(2), cursor, ..ListQuery::default() };
    let (first, next) = listed(store, &of(None), now).await;
    assert_eq!(first, ["e", "d"].map(id));
    run_and_fail(store, &id("d"), later(now, MINUTE)).await;
    let after = later(now, 2 * DAY);
    assert_eq!(store.purge(after).await.unwrap(), 1);
    let (second, next) = listed(store, &of(next), after).await;
    assert_eq!(second, ["c", "b"].map(id));
    assert_eq!(listed(store, &of(next), after).await, (vec![id("a")], None));
}

#[tokio::test]
async fn finished_tasks_are_not_purged_before_their_retention_is_over() {
    for retention in [DAY, 10 * DAY] {
        let Fresh { store, .. } = &fresh().await;
        let now = start_time();
        let id = created(store, push("a"), now).await;
        let policy = RetryPolicy { retention, ..policy() };
        start(store, &id, "a", now).await;
        store.update(&id, now, |task| Ok(task.fail("a", 1, "no such image", &policy, now)?)).await.unwrap();
        let last = later(now, retention - Duration::from_secs(1));
        assert_eq!(store.purge(last).await.unwrap(), 0);
        assert!(store.get(&id, last).await.unwrap().is_some());
        assert_eq!(store.purge(later(now, retention)).await.unwrap(), 1);
        assert_eq!(store.get(&id, last).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_purge_forgets_what_has_expired_and_nothing_else() {
    let Fresh { store, .. } = &fresh().await;
    let now = start_time();
    for (n, name) in (0..).zip(["live", "old", "young"]) {
        created(store, push_of_own(name), later(now, Duration::from_secs(n))).await;
    }
    run_and_fail(store, &id("old"), now).await;
    run_and_fail(store, &id("young"), later(now, HOUR)).await;
    assert_eq!(store.purge(later(now, DAY)).await.unwrap(), 1);
    assert_eq!(listed(store, &ListQuery::default(), now).await.0, ["young", "live"].map(id));
    assert_eq!(store.purge(later(now, 365 * DAY)).await.unwrap(), 1);
    assert_eq!(store.purge(later(now, 365 * DAY)).await.unwrap(), 0);
    assert_eq!(store.live(&read(store, &id("live")).await.live_key()).await.unwrap(), Some(id("live")));
    let again = NewTask { digest: Some(Digest::of(b"old")), ..push("again") };
    assert_eq!(admit(store, again, now).await, Admission::Created);
}

#[tokio::test]
async fn units_are_forgotten_with_their_task() {
    let Fresh { store, .. } = &fresh().await;
    let now = start_time();
    let [one, other] = ["one", "other"];
    for name in [one, other] {
        let task = fanned_out(store, push_of_own(name), &["x"], now).await;
        start_unit(store, &unit_key(&task, "x"), "a", &policy(), now).await.unwrap().unwrap();
    }
    let [one, other] = [one, other].map(|name| unit_key(&id(name), "x"));
    fail_unit(store, &one, "damaged", &policy(), now).await.unwrap().unwrap();
    assert_eq!(store.purge(later(now, DAY)).await.unwrap(), 1);
    assert_eq!(store.unit(&one).await.unwrap(), None);
    assert!(store.unit(&other).await.unwrap().is_some());
}

#[tokio::test]
async fn layers_are_purged_90_days_after_their_last_use() {
    let Fresh { store, .. } = &fresh().await;
    let now = start_time();
    for n in 0..2 {
        store.remember_layer(&layer_key(n), &layer(n), now).await.unwrap();
    }
    let used = later(now, 89 * DAY);
    store.find_layer(&layer_key(1), used).await.unwrap();
    store.purge(later(used, 89 * DAY)).await.unwrap();
    assert_eq!(store.find_layer(&layer_key(0), now).await.unwrap(), None, "it is gone, whatever time it is");
    let last = later(used, 90 * DAY - Duration::from_secs(1));
    assert_eq!(store.find_layer(&layer_key(1), last).await.unwrap(), Some(layer(1)));
}

#[tokio::test]
async fn a_purged_lease_of_a_target_is_free() {
    let Fresh { store, .. } = &fresh().await;
    let (now, target) = (start_time(), "h.example/p/app:1-esgz".parse().unwrap());
    assert!(store.lease_target(&target, "a", MINUTE, now).await.unwrap());
    store.purge(later(now, MINUTE / 2)).await.unwrap();
    assert!(!store.lease_target(&target, "b", MINUTE, later(now, MINUTE / 2)).await.unwrap());
    store.purge(later(now, 10 * MINUTE)).await.unwrap();
    assert!(store.lease_target(&target, "c", MINUTE, later(now, 10 * MINUTE)).await.unwrap());
}

#[tokio::test]
async fn nothing_is_left_of_what_was_purged() {
    let Fresh { store, .. } = &fresh().await;
    let now = start_time();
    let task = fanned_out(store, NewTask { delivery: Some("d".to_owned()), ..push("a") }, &["x"], now).await;
    start_unit(store, &unit_key(&task, "x"), "a", &policy(), now).await.unwrap().unwrap();
    fail_unit(store, &unit_key(&task, "x"), "damaged", &policy(), now).await.unwrap().unwrap();
    store.remember_layer(&layer_key(0), &layer(0), now).await.unwrap();
    assert!(store.lease_target(&"h.example/p/app:1".parse().unwrap(), "a", MINUTE, now).await.unwrap());
    assert_eq!(store.purge(later(now, 91 * DAY)).await.unwrap(), 1);
    let left = store.read(|view| {
        let mut left = 0;
        for table in [TASKS, UNITS, LAYERS, TARGETS] {
            left += view.table(table)?.iter()?.count();
        }
        for table in [CREATED, EXPIRING, LAYER_USES] {
            left += view.table(table)?.iter()?.count();
        }
        for table in [LIVE, DELIVERIES] {
            left += view.table(table)?.iter()?.count();
        }
        Ok(left)
    });
    assert_eq!(left.await.unwrap(), 0);
}
