//! Accel in a temporary directory, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use accel_domain::config::{self, Config};
use accel_domain::task::{Done, Progress, RetryPolicy, Sizes, Start, State, Task};
use accel_domain::{TaskId, Timestamp};
use accel_query::Query;
use accel_runtime::http::with_fallbacks;
use accel_runtime::{Clock, Gate, Metrics, Secrets};
use accel_tasks::embedded::Embedded;
use accel_tasks::{ListQuery, Received, StoreError, TaskQueue, TaskStore};
use accel_webhook::{SyncWait, Webhook};
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::faults::Reach;

/// Speaks for all of `harbor.example.com`.
pub(crate) const HOOK: &str = "hook-secret";
/// Speaks for its project `library`.
pub(crate) const LIBRARY: &str = "library-secret";
/// Speaks for `other.example.com`.
pub(crate) const OTHER: &str = "other-secret";
/// Speaks for everything.
pub(crate) const ADMIN: &str = "admin-secret";

pub(crate) const CONVERSIONS: &str = "/api/v1/conversions";

const CONFIG: &str = r#"
server:
  admin_auth: admin-secret
registries:
  harbor.example.com:
    username: robot$accel
    password: registry-password
    aliases: [harbor-core]
    webhook_auth:
      - value: hook-secret
      - { value: library-secret, projects: [library] }
  other.example.com:
    webhook_auth: [{ value: other-secret }]
rules:
  - match: { tag: "*", except_tags: ["*-dev"] }
    convert:
      - { format: estargz, target: "{repository}:{tag}-esgz", delete: true }
"#;

/// Without secrets: open to everybody who can reach it.
pub(crate) const OPEN: &str = r#"
registries:
  harbor.example.com: {}
rules:
  - convert: [{ format: estargz, target: "{repository}:{tag}-esgz" }]
"#;

pub(crate) struct App {
    pub(crate) store: Embedded,
    pub(crate) reach: Reach,
    pub(crate) router: Router,
    _directory: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl App {
    pub(crate) fn new() -> Self {
        Self::with(CONFIG, SyncWait::default())
    }

    pub(crate) fn with(text: &str, wait: SyncWait) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path().join("accel.redb")).unwrap();
        let config: Arc<Config> = Arc::new(config::parse(text, "test.yaml").unwrap());
        let reach = Reach::new(store.clone());
        let shared = Arc::new(reach.clone());
        let (clock, metrics) = (Clock::default(), Metrics::new());
        let gate = Arc::new(Gate::new(&config, Arc::new(Secrets::new(clock.clone())), clock.clone()));
        let query = Query::new(&config, Arc::clone(&shared), Arc::clone(&gate), metrics.clone(), clock.clone());
        let webhook = Webhook::new(config, Arc::clone(&shared), shared, gate, metrics, clock).with_wait(wait);
        let router = accel_webhook::router(webhook).merge(accel_query::router(query));
        Self { store, reach, router: with_fallbacks(router), _directory: directory }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 16 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Sends an event in Harbor's default format.
    pub(crate) async fn push(&self, auth: Option<&str>, body: impl ToString) -> Answer {
        self.send(post(CONVERSIONS, auth, "application/json", body.to_string())).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, auth: Option<&str>) -> Answer {
        self.send(request(method, path, auth).body(Body::empty()).unwrap()).await
    }

    /// Every task, newest first.
    pub(crate) async fn tasks(&self) -> Vec<Task> {
        self.store.list(&ListQuery::default(), Timestamp::now()).await.unwrap().tasks
    }

    /// The next message, which has to be there.
    pub(crate) async fn message(&self) -> Received {
        self.store.receive(Duration::from_secs(10), Duration::from_secs(60)).await.unwrap().expect("a message waits")
    }

    /// Does what a converter does with the next message, and ends its task.
    pub(crate) async fn convert(&self, end: impl Fn(&mut Task, Timestamp) + Send + Sync) -> Task {
        let received = self.message().await;
        let (id, generation, now) = (&received.message.task, received.message.generation, Timestamp::now());
        let run = |task: &mut Task| {
            assert_eq!(task.start(generation, OWNER, &RetryPolicy::default(), now), Start::Run);
            end(task, now);
            Ok(())
        };
        let (task, ()) = self.store.update(id, now, run).await.unwrap();
        self.store.acknowledge(&received.receipt).await.unwrap();
        task
    }

    pub(crate) async fn change(&self, id: &TaskId, change: impl Fn(&mut Task) + Send + Sync) {
        let write = |task: &mut Task| -> Result<(), StoreError> {
            change(task);
            Ok(())
        };
        self.store.update(id, Timestamp::now(), write).await.unwrap();
    }
}

pub(crate) const OWNER: &str = "converter";

/// Ends a conversion well.
pub(crate) fn complete(task: &mut Task, now: Timestamp) {
    let sizes = Sizes { source: 2_000, target: 1_900 };
    let done = Done { state: State::Completed, reason: "", sizes, target_digest: None, progress: Progress::default() };
    task.complete(OWNER, task.generation, done, &RetryPolicy::default(), now).unwrap();
}

/// Ends a conversion badly.
pub(crate) fn fail(task: &mut Task, now: Timestamp) {
    task.fail(OWNER, task.generation, "the source manifest is gone", &RetryPolicy::default(), now).unwrap();
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn is_error(&self, status: u16, code: &str, message: &str) -> bool {
        let said = self.json();
        self.status == status && said["code"] == code && said["message"].as_str().is_some_and(|m| m.contains(message))
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == 200 && self.body.trim_end() == "\"Ok\""
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The ids that the answer names.
    pub(crate) fn ids(&self) -> Vec<TaskId> {
        self.header("x-accel-task-id")
            .into_iter()
            .flat_map(|ids| ids.split(','))
            .map(|id| id.trim().parse().unwrap())
            .collect()
    }
}

pub(crate) fn request(method: &str, path: &str, auth: Option<&str>) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    auth.into_iter().fold(request, |request, auth| request.header("authorization", auth))
}

pub(crate) fn post(path: &str, auth: Option<&str>, content_type: &str, body: String) -> Request<Body> {
    request("POST", path, auth).header("content-type", content_type).body(body.into()).unwrap()
}

/// Harbor's event about `urls`, at one time, by somebody.
pub(crate) fn pushed(urls: &[&str]) -> Value {
    event("PUSH_ARTIFACT", "somebody", 1_756_000_000, urls)
}

pub(crate) fn event(kind: &str, operator: &str, occur_at: i64, urls: &[&str]) -> Value {
    let digest = format!("sha256:{}", "a".repeat(64));
    let resource = |url: &&str| match url.split_once('@') {
        Some((_, digest)) => json!({ "digest": digest, "tag": digest, "resource_url": url }),
        None => json!({ "digest": digest, "tag": "v1", "resource_url": url }),
    };
    let resources: Vec<_> = urls.iter().map(resource).collect();
    json!({ "type": kind, "occur_at": occur_at, "operator": operator, "event_data": { "resources": resources } })
}
