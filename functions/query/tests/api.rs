//! The query function as its callers see it, over the embedded store in a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::sync::Arc;

use accel_domain::task::{Done, NewTask, Progress, RetryPolicy, Sizes, State, TaskKind};
use accel_domain::{Format, Output, Task, TaskId, Timestamp, config};
use accel_image::{Digest, Reference};
use accel_query::Query;
use accel_runtime::http::with_fallbacks;
use accel_runtime::{Clock, Gate, Metrics, Secrets};
use accel_tasks::embedded::Embedded;
use accel_tasks::{Admission, TaskStore};
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request};
use serde_json::Value;
use tower::ServiceExt;

const CONFIG: &str = r#"
server: { admin_auth: admin-secret }
registries:
  harbor.example.com:
    webhook_auth: [{ value: hook-secret }, { value: library-secret, projects: [library] }]
  other.example.com:
    webhook_auth: [{ value: other-secret }]
"#;

const OPEN: &str = "registries: { harbor.example.com: {} }";

const ADMIN: Option<&str> = Some("admin-secret");

struct App {
    store: Embedded,
    router: Router,
    _directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        self.json().as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The clock of every test.
fn now() -> Timestamp {
    "2026-03-01T12:00:00.123456789Z".parse().unwrap()
}

impl App {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path().join("accel.redb")).unwrap();
        let config = config::parse(text, "test.yaml").unwrap();
        let clock = Clock::new(now);
        let gate = Arc::new(Gate::new(&config, Arc::new(Secrets::new(clock.clone())), clock.clone()));
        let query = Query::new(&config, Arc::new(store.clone()), gate, Metrics::new(), clock);
        let router = with_fallbacks(accel_query::router(query));
        Self { store, router, _directory: directory }
    }

    async fn get(&self, path: &str, auth: Option<&str>) -> Answer {
        let request = Request::get(path);
        let request = auth.into_iter().fold(request, |request, auth| request.header("authorization", auth));
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, 16 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A task that was accepted `age` seconds ago.
    async fn task(&self, number: u32, source: &str, age: i64) -> Task {
        let task = new_task(number, source, age);
        assert_eq!(self.store.admit(&task).await.unwrap(), Admission::Created);
        task
    }

    async fn end(&self, id: &TaskId, end: impl Fn(&mut Task) + Send + Sync) {
        let run = |task: &mut Task| {
            task.start(task.generation, "converter", &RetryPolicy::default(), now());
            end(task);
            Ok(())
        };
        self.store.update(id, now(), run).await.unwrap();
    }
}

fn new_task(number: u32, source: &str, age: i64) -> Task {
    let source: Reference = source.parse().unwrap();
    let output = Output::new(Format::Estargz.default_options());
    let new = NewTask {
        id: format!("00000000-0000-4000-8000-{number:012}").parse().unwrap(),
        kind: TaskKind::Convert,
        written: source.to_string(),
        digest: Some(Digest::of(&number.to_be_bytes())),
        target: source.with_tag("target").unwrap(),
        source,
        rule_hash: output.rule_hash("{repository}:target"),
        output,
        delivery: None,
    };
    Task::new(new, now().checked_sub(std::time::Duration::from_secs(age.unsigned_abs())).unwrap())
}

fn complete(task: &mut Task) {
    let sizes = Sizes { source: 3_000, target: 2_900 };
    let done = Done { state: State::Completed, reason: "", sizes, target_digest: None, progress: Progress::default() };
    task.complete("converter", task.generation, done, &RetryPolicy::default(), now()).unwrap();
}

fn fail(task: &mut Task) {
    task.fail("converter", task.generation, "no such manifest", &RetryPolicy::default(), now()).unwrap();
}

const LIST: &str = "/api/v1/conversions";

#[tokio::test]
async fn c11_the_list_has_acceld_s_shape() {
    let app = App::new(CONFIG);
    let empty = app.get(LIST, ADMIN).await;
    assert_eq!((empty.status, empty.body.trim_end()), (200, "[]"));
    app.task(1, "harbor.example.com/library/app:v1", 20).await;
    let done = app.task(2, "harbor.example.com/library/app:v2", 10).await;
    app.end(&done.id, complete).await;

    let answer = app.get(LIST, ADMIN).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let rows = answer.json();
    assert_eq!(answer.ids(), [done.id.to_string(), "00000000-0000-4000-8000-000000000001".to_owned()], "newest first");
    assert_eq!(rows[0]["created"], "2026-03-01T11:59:50.123456789Z");
    assert_eq!(rows[0]["finished"], "2026-03-01T12:00:00.123456789Z");
    assert_eq!((&rows[0]["source_size"], &rows[0]["target_size"]), (&3_000.into(), &2_900.into()));
    assert_eq!((&rows[0]["status"], &rows[0]["reason"]), (&"COMPLETED".into(), &"".into()));
    assert_eq!(rows[1]["finished"], "0001-01-01T00:00:00Z");
    assert_eq!((&rows[1]["status"], &rows[1]["source_size"]), (&"PROCESSING".into(), &0.into()));
    assert_eq!(rows[1]["source"], "harbor.example.com/library/app:v1");
    let start =
        r#"[{"id":"00000000-0000-4000-8000-000000000002","created":"2026-03-01T11:59:50.123456789Z","finished":"#;
    assert!(answer.body.starts_with(start), "{}", answer.body);
}

#[tokio::test]
async fn c11_a_finished_task_is_gone_after_its_retention() {
    let app = App::new(CONFIG);
    let old = new_task(1, "harbor.example.com/library/app:v1", 90_000);
    app.store.admit(&old).await.unwrap();
    let ended = |task: &mut Task| {
        task.start(1, "converter", &RetryPolicy::default(), old.created);
        task.fail("converter", 1, "gone", &RetryPolicy::default(), old.created).unwrap();
        Ok(())
    };
    app.store.update(&old.id, old.created, ended).await.unwrap();
    assert!(app.get(LIST, ADMIN).await.ids().is_empty());
    assert_eq!(app.get(&format!("{LIST}/{}", old.id), ADMIN).await.status, 404);
}

#[tokio::test]
async fn pages_lead_to_the_next_until_all_were_shown() {
    let app = App::new(CONFIG);
    for number in 0..5 {
        app.task(number, &format!("harbor.example.com/library/app:v{number}"), i64::from(number)).await;
    }
    let (mut path, mut seen, mut pages) = (format!("{LIST}?limit=2&source=library/app%3Av"), Vec::new(), 0);
    loop {
        let answer = app.get(&path, ADMIN).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        seen.extend(answer.ids());
        pages += 1;
        let Some(link) = answer.headers.get("link") else { break };
        let link = link.to_str().unwrap();
        assert!(link.starts_with("<?source=library%2Fapp%3Av&limit=2&cursor="), "{link}");
        path = format!("{LIST}{}", link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap());
    }
    let expected: Vec<_> = (0..5).map(|number| format!("00000000-0000-4000-8000-{number:012}")).collect();
    assert_eq!((seen, pages), (expected, 3));
}

#[tokio::test]
async fn lists_are_filtered_by_status_and_source() {
    let app = App::new(CONFIG);
    let one = app.task(1, "harbor.example.com/library/app:v1", 3).await;
    let two = app.task(2, "harbor.example.com/library/db:v1", 2).await;
    app.task(3, "harbor.example.com/library/db:v2", 1).await;
    app.end(&one.id, complete).await;
    app.end(&two.id, fail).await;
    let rows = [
        ("?status=COMPLETED", 1),
        ("?status=failed", 1),
        ("?status=PROCESSING", 1),
        ("?status=", 3),
        ("?source=library/db", 2),
        ("?source=library/db&status=FAILED", 1),
        ("?source=nothing", 0),
        ("?limit=5000", 3),
        ("?unknown=1", 3),
    ];
    for (filter, count) in rows {
        assert_eq!(app.get(&format!("{LIST}{filter}"), ADMIN).await.ids().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn bad_filters_are_named() {
    let app = App::new(CONFIG);
    let rows = [
        ("?status=DONE", "status"),
        ("?limit=0", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=x", "limit"),
        ("?cursor=x", "cursor"),
        ("?status=FAILED&status=FAILED", "status"),
    ];
    for (filter, named) in rows {
        let answer = app.get(&format!("{LIST}{filter}"), ADMIN).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"ERR_ILLEGAL_PARAMETER".into()), "{filter}");
        assert!(answer.body.contains(named), "{filter}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_header_sees_what_it_covers() {
    let app = App::new(CONFIG);
    app.task(1, "harbor.example.com/library/app:v1", 3).await;
    app.task(2, "harbor.example.com/private/app:v1", 2).await;
    app.task(3, "other.example.com/library/app:v1", 1).await;
    let rows = [("admin-secret", 3), ("hook-secret", 2), ("library-secret", 1), ("other-secret", 1)];
    for (auth, count) in rows {
        let ids = app.get(LIST, Some(auth)).await.ids();
        assert_eq!(ids.len(), count, "{auth}");
        for number in 1..=3 {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            let status = app.get(&format!("{LIST}/{id}"), Some(auth)).await.status;
            assert_eq!(status, if ids.contains(&id) { 200 } else { 404 }, "{auth} {id}");
        }
    }
    for path in [LIST.to_owned(), format!("{LIST}/00000000-0000-4000-8000-000000000001")] {
        for auth in [None, Some("wrong"), Some("")] {
            let answer = app.get(&path, auth).await;
            assert_eq!((answer.status, &answer.json()["code"]), (401, &"ERR_UNAUTHORIZED".into()), "{path} {auth:?}");
        }
    }
}

/// acceld never asks for a header here.
#[tokio::test]
async fn without_secrets_everybody_sees_all() {
    let app = App::new(OPEN);
    app.task(1, "harbor.example.com/library/app:v1", 3).await;
    for auth in [None, Some("anything")] {
        assert_eq!(app.get(LIST, auth).await.ids().len(), 1, "{auth:?}");
    }
}

#[tokio::test]
async fn a_joined_task_shows_how_the_other_one_is() {
    let app = App::new(CONFIG);
    let other = app.task(1, "harbor.example.com/library/app:v1", 9).await;
    let joined = app.task(2, "harbor.example.com/library/app:v2", 5).await;
    let (policy, id) = (RetryPolicy::default(), other.id.clone());
    app.end(&joined.id, |task| task.join("converter", 1, id.clone(), &policy, now()).unwrap()).await;
    let path = format!("{LIST}/{}", joined.id);
    let row = app.get(&path, ADMIN).await.json();
    assert_eq!((&row["status"], &row["finished"]), (&"PROCESSING".into(), &"0001-01-01T00:00:00Z".into()));
    app.end(&other.id, complete).await;
    let row = app.get(&path, ADMIN).await.json();
    assert_eq!((&row["id"], &row["status"]), (&joined.id.to_string().into(), &"COMPLETED".into()));
    assert_eq!((&row["source"], &row["source_size"]), (&"harbor.example.com/library/app:v2".into(), &3_000.into()));
    assert_eq!(app.get(LIST, ADMIN).await.json()[0], row);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let app = App::new(CONFIG);
    for id in ["1", "00000000-0000-4000-8000-000000000009", "%2e%2e", "%ff"] {
        let answer = app.get(&format!("{LIST}/{id}"), ADMIN).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"ERR_NOT_FOUND".into()), "{id}");
    }
    for path in ["/", "/api", "/api/v1", "/api/v1/conversions/", "/api/v1/conversions/1/retry", "/nothing"] {
        let answer = app.get(path, ADMIN).await;
        let expected = (404, "ERR_INVALID_ENDPOINT".into(), "Endpoint not found".into());
        assert_eq!(
            (answer.status, answer.json()["code"].clone(), answer.json()["message"].clone()),
            expected,
            "{path}"
        );
    }
}

#[tokio::test]
async fn health_is_open_and_says_ok() {
    let app = App::new(CONFIG);
    let answer = app.get("/api/v1/health", None).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "Ok"));
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
}

#[tokio::test]
async fn metrics_need_the_admin_s_header_where_there_is_one() {
    let app = App::new(CONFIG);
    for (auth, status) in [(None, 401), (Some("hook-secret"), 401), (ADMIN, 200)] {
        assert_eq!(app.get("/metrics", auth).await.status, status, "{auth:?}");
    }
    let answer = App::new(OPEN).get("/metrics", None).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\nconversion_succeed_total 0\n"), "{}", answer.body);
}
