//! A store and a queue that can be out of reach, and what callers see of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accel_domain::task::{RetryPolicy, Unit, UnitKey};
use accel_domain::{Task, TaskId, Timestamp};
use accel_image::Reference;
use accel_tasks::embedded::Embedded;
use accel_tasks::{Admission, ListQuery, Message, Page, Received, StoreError, TaskQueue, TaskStore};

use crate::app::{ADMIN, App, CONVERSIONS, HOOK, complete, pushed};

/// The embedded store, within reach or not.
#[derive(Clone)]
pub(crate) struct Reach {
    inner: Embedded,
    store_down: Arc<AtomicBool>,
    queue_down: Arc<AtomicBool>,
}

impl Reach {
    pub(crate) fn new(inner: Embedded) -> Self {
        Self { inner, store_down: Arc::default(), queue_down: Arc::default() }
    }

    fn store(&self) -> Result<&Embedded, StoreError> {
        self.reached(&self.store_down)
    }

    fn queue(&self) -> Result<&Embedded, StoreError> {
        self.reached(&self.queue_down)
    }

    fn reached(&self, down: &AtomicBool) -> Result<&Embedded, StoreError> {
        let secret = || StoreError::Unavailable("/var/lib/accel is out of reach".to_owned());
        if down.load(Ordering::SeqCst) { Err(secret()) } else { Ok(&self.inner) }
    }
}

impl TaskStore for Reach {
    async fn admit(&self, task: &Task) -> Result<Admission, StoreError> {
        self.store()?.admit(task).await
    }

    async fn get(&self, id: &TaskId, now: Timestamp) -> Result<Option<Task>, StoreError> {
        self.store()?.get(id, now).await
    }

    async fn replace(&self, task: &Task) -> Result<(), StoreError> {
        self.store()?.replace(task).await
    }

    async fn live(&self, key: &str) -> Result<Option<TaskId>, StoreError> {
        self.store()?.live(key).await
    }

    async fn list(&self, query: &ListQuery, now: Timestamp) -> Result<Page, StoreError> {
        self.store()?.list(query, now).await
    }

    async fn to_sweep(&self, policy: &RetryPolicy, limit: usize, now: Timestamp) -> Result<Vec<Task>, StoreError> {
        self.store()?.to_sweep(policy, limit, now).await
    }

    async fn unit(&self, key: &UnitKey) -> Result<Option<Unit>, StoreError> {
        self.store()?.unit(key).await
    }

    async fn replace_unit(&self, unit: &Unit) -> Result<(), StoreError> {
        self.store()?.replace_unit(unit).await
    }

    async fn units_to_sweep(
        &self,
        policy: &RetryPolicy,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Unit>, StoreError> {
        self.store()?.units_to_sweep(policy, limit, now).await
    }

    async fn lease_target(
        &self,
        target: &Reference,
        owner: &str,
        hold: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store()?.lease_target(target, owner, hold, now).await
    }

    async fn release_target(&self, target: &Reference, owner: &str) -> Result<(), StoreError> {
        self.store()?.release_target(target, owner).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store()?.check().await
    }
}

impl TaskQueue for Reach {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), StoreError> {
        self.queue()?.send(message, delay).await
    }

    async fn receive(&self, wait: Duration, visibility: Duration) -> Result<Option<Received>, StoreError> {
        self.queue()?.receive(wait, visibility).await
    }

    async fn acknowledge(&self, receipt: &str) -> Result<(), StoreError> {
        self.queue()?.acknowledge(receipt).await
    }

    async fn keep(&self, receipt: &str, visibility: Duration) -> Result<(), StoreError> {
        self.queue()?.keep(receipt, visibility).await
    }
}

const APP: &str = "harbor.example.com/library/app:v1";

#[tokio::test]
async fn an_event_that_cannot_be_stored_is_500_so_that_it_comes_again() {
    let app = App::new();
    app.reach.store_down.store(true, Ordering::SeqCst);
    let answer = app.push(Some(HOOK), pushed(&[APP])).await;
    assert!(answer.is_error(500, "ERR_CONVERT_FAILED", "send this again"), "{answer:?}");
    assert!(!answer.body.contains("/var/lib"), "{answer:?}");
    app.reach.store_down.store(false, Ordering::SeqCst);
    assert!(app.push(Some(HOOK), pushed(&[APP])).await.is_ok());
    assert_eq!(app.tasks().await.len(), 1);
}

#[tokio::test]
async fn a_stored_event_whose_message_cannot_be_sent_is_ok_and_left_to_the_sweeper() {
    let app = App::new();
    app.reach.queue_down.store(true, Ordering::SeqCst);
    assert!(app.push(Some(HOOK), pushed(&[APP])).await.is_ok());
    app.reach.queue_down.store(false, Ordering::SeqCst);
    let later = Timestamp::now() + Duration::from_secs(121);
    let swept = accel_tasks::sweep(&app.store, &app.store, &RetryPolicy::default(), 10, later, |_| ()).await.unwrap();
    assert_eq!(swept.enqueued, 1);
    app.convert(complete).await;
}

#[tokio::test]
async fn a_store_out_of_reach_is_named_and_its_cause_is_not() {
    let app = App::new();
    app.reach.store_down.store(true, Ordering::SeqCst);
    let id = "00000000-0000-4000-8000-000000000001";
    let rows = [
        ("GET", "/api/v1/health".to_owned(), "ERR_UNHEALTHY"),
        ("GET", CONVERSIONS.to_owned(), "ERR_UNHEALTHY"),
        ("GET", format!("{CONVERSIONS}/{id}"), "ERR_UNHEALTHY"),
        ("DELETE", format!("{CONVERSIONS}/{id}"), "ERR_CONVERT_FAILED"),
    ];
    for (method, path, code) in rows {
        let answer = app.ask(method, &path, Some(ADMIN)).await;
        assert!(answer.is_error(500, code, "task store") && !answer.body.contains("/var/lib"), "{path}: {answer:?}");
    }
}
