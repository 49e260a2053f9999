//! A Harbor as far as `accelctl harbor` needs one: the calls of its API version 2.0, with Harbor's checks and answers.

mod robots;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) use tls::authority;

pub(crate) const ADMIN: (&str, &str) = ("admin", "adm1n-s3cret");
/// Administrator of its projects, and of nothing else.
pub(crate) const MAINTAINER: (&str, &str) = ("maria", "mar1a-s3cret");
/// What new robots get.
pub(crate) const ROBOT_SECRET: &str = "R0bot-s3cret";

pub(crate) struct Site {
    pub(crate) version: String,
    pub(crate) notification_enable: bool,
    /// Name, id, and whether it is a proxy cache.
    pub(crate) projects: Vec<(&'static str, i64, bool)>,
    pub(crate) policies: Vec<Value>,
    pub(crate) robots: Vec<Value>,
    /// Whether whoever makes a robot, or a new secret of one, is told the secret.
    pub(crate) tells_secrets: bool,
    /// Calls that are refused: method, the end of the path, and the status.
    pub(crate) refused: Option<(&'static str, &'static str, u16)>,
    /// Calls for robots that are carried out and whose answer is lost: the method, and the status of what comes instead
    /// of it. Without one the connection breaks.
    pub(crate) lost: Option<(&'static str, Option<u16>)>,
    next_id: i64,
}

struct Shared {
    site: Mutex<Site>,
    /// `GET /api/v2.0/systeminfo`
    lines: Mutex<Vec<String>>,
}

/// It stops when it is dropped.
pub(crate) struct HarborDouble {
    scheme: &'static str,
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl HarborDouble {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (shared, router) = site();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { scheme: "http", addr, shared, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Looks at the site, or changes it.
    pub(crate) fn site<T>(&self, with: impl FnOnce(&mut Site) -> T) -> T {
        with(&mut self.shared.site.lock().unwrap())
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lines.lock().unwrap())
    }

    /// What was written since the last call.
    pub(crate) fn written(&self) -> Vec<String> {
        self.asked().into_iter().filter(|line| !line.starts_with("GET ")).collect()
    }
}

impl Drop for HarborDouble {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A Harbor that nothing has been set up in, and what answers for it.
fn site() -> (Arc<Shared>, Router) {
    let site = Site {
        version: "v2.14.1-5d1ff0fa".to_owned(),
        notification_enable: true,
        projects: vec![
            ("library", 1, false),
            ("team", 2, false),
            ("hub", 3, true),
            ("123", 4, false),
            ("base", 5, false),
        ],
        policies: Vec::new(),
        robots: Vec::new(),
        tells_secrets: true,
        refused: None,
        lost: None,
        next_id: 10,
    };
    let shared = Arc::new(Shared { site: Mutex::new(site), lines: Mutex::default() });
    let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
    (shared, router)
}

type Answer = (StatusCode, Value);

fn refuse(status: StatusCode, message: &str) -> Answer {
    (status, json!({"errors": [{"code": status.canonical_reason(), "message": message}]}))
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.lines.lock().unwrap().push(format!("{} {}", parts.method, parts.uri.path()));
    let login = |(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let header = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let user = [ADMIN, MAINTAINER].into_iter().find(|user| header == Some(login(*user))).map(|(name, _)| name);
    let mut site = shared.site.lock().unwrap();
    if let Some((method, end, status)) = site.refused
        && parts.method == method
        && parts.uri.path().ends_with(end)
    {
        return (StatusCode::from_u16(status).unwrap(), "<html>").into_response();
    }
    let named = parts.headers.get("x-is-resource-name").is_some_and(|value| value == "true");
    assert!(named, "a project of digits alone would be taken for an id");
    let (status, body) = site.call(parts.method.as_str(), &parts.uri, user, body);
    if let Some((method, instead)) = site.lost
        && parts.method == method
        && parts.uri.path().starts_with("/api/v2.0/robots")
    {
        return match instead {
            Some(status) => (StatusCode::from_u16(status).unwrap(), "<html>").into_response(),
            None => Body::from_stream(stream::iter([Err::<&str, _>(std::io::Error::other("gone"))])).into_response(),
        };
    }
    if body.is_null() { status.into_response() } else { (status, axum::Json(body)).into_response() }
}

/// A parameter of the query.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs: Vec<(String, String)> =
        axum::extract::Query::try_from_uri(uri).map(|axum::extract::Query(pairs)| pairs).unwrap_or_default();
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

impl Site {
    fn call(&mut self, method: &str, uri: &Uri, user: Option<&str>, body: Value) -> Answer {
        let path: Vec<&str> = uri.path().trim_start_matches("/api/v2.0/").split('/').collect();
        if path == ["systeminfo"] {
            // Everybody may ask; the version is for those who are logged in.
            let version = user.map(|_| self.version.clone());
            return (
                StatusCode::OK,
                json!({"auth_mode": "db_auth", "harbor_version": version, "notification_enable": self.notification_enable}),
            );
        }
        let Some(user) = user else { return refuse(StatusCode::UNAUTHORIZED, "unauthorized: unauthorized") };
        match (method, path.as_slice()) {
            ("GET", ["projects", name]) => self.project(user, name),
            (_, ["projects", name, "webhook", "policies", rest @ ..]) => {
                let Some((_, id, _)) = self.projects.iter().find(|(project, ..)| project == name).copied() else {
                    return refuse(StatusCode::FORBIDDEN, "forbidden");
                };
                self.policy(method, id, rest.first(), uri, body)
            }
            (_, ["robots", rest @ ..]) => self.robot(method, user, rest.first(), uri, body),
            _ => refuse(StatusCode::NOT_FOUND, "not found"),
        }
    }

    fn project(&self, user: &str, name: &str) -> Answer {
        match self.projects.iter().find(|(project, ..)| *project == name) {
            Some((name, id, proxy)) => {
                let registry = proxy.then_some(5);
                (StatusCode::OK, json!({"project_id": id, "name": name, "registry_id": registry}))
            }
            None if user == ADMIN.0 => refuse(StatusCode::NOT_FOUND, "project not found"),
            None => refuse(StatusCode::FORBIDDEN, "forbidden"),
        }
    }

    fn policy(&mut self, method: &str, project: i64, id: Option<&&str>, uri: &Uri, mut body: Value) -> Answer {
        let supported = ["PUSH_ARTIFACT", "PULL_ARTIFACT", "DELETE_ARTIFACT", "SCANNING_COMPLETED"];
        let of_project = |policy: &&Value| policy["project_id"] == project;
        if method != "GET" {
            let events = body["event_types"].as_array().cloned().unwrap_or_default();
            let targets = body["targets"].as_array().cloned().unwrap_or_default();
            if targets.is_empty() || events.iter().any(|event| !supported.contains(&event.as_str().unwrap())) {
                return refuse(StatusCode::BAD_REQUEST, "bad policy");
            }
        }
        match (method, id) {
            ("GET", None) => page(self.policies.iter().filter(of_project), uri),
            ("POST", None) => {
                if self.policies.iter().filter(of_project).any(|policy| policy["name"] == body["name"]) {
                    return refuse(StatusCode::CONFLICT, "notification policy already exists");
                }
                self.next_id += 1;
                body["id"] = self.next_id.into();
                body["project_id"] = project.into();
                body["creator"] = "admin".into();
                // As it is shown: what is false is left out.
                for target in body["targets"].as_array_mut().unwrap() {
                    if target["skip_cert_verify"] == false {
                        target.as_object_mut().unwrap().remove("skip_cert_verify");
                    }
                }
                self.policies.push(body);
                (StatusCode::CREATED, Value::Null)
            }
            ("PUT", Some(id)) => {
                let found = self
                    .policies
                    .iter_mut()
                    .find(|p| p["id"].as_i64() == id.parse().ok() && p["project_id"] == project);
                let Some(found) = found else { return refuse(StatusCode::NOT_FOUND, "no policy") };
                body["id"] = found["id"].clone();
                body["project_id"] = project.into();
                *found = body; // the whole row, its creator too
                (StatusCode::OK, Value::Null)
            }
            _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "no"),
        }
    }
}

fn page<'v>(rows: impl Iterator<Item = &'v Value>, uri: &Uri) -> Answer {
    let number = |name: &str| parameter(uri, name).and_then(|text| text.parse::<usize>().ok());
    let (page, size) = (number("page").unwrap_or(1), number("page_size").unwrap_or(10).min(100));
    (StatusCode::OK, rows.skip((page - 1) * size).take(size).cloned().collect())
}
