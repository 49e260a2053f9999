//! A server that answers what it is told to, and remembers what it was asked.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An answer in the making.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `GET /api/v1/conversions?limit=1`
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
}

/// A server on loopback; it stops when it is dropped.
pub(crate) struct Server {
    addr: SocketAddr,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

pub(crate) fn answer(status: u16, body: impl ToString) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string() }
}

impl Answer {
    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

impl Server {
    /// Gives `answers` in turn, whatever is asked.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() });
        let router = Router::new().fallback(play).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, script, task }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    /// The lines of what was asked.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn play(State(script): State<Arc<Script>>, request: Request) -> Response {
    let text = |headers: &HeaderMap, name| {
        headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned())
    };
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    script.asked.lock().unwrap().push(Asked {
        line: format!("{} {}", parts.method, parts.uri),
        authorization: text(&parts.headers, "authorization"),
        content_type: text(&parts.headers, "content-type"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let next = script.answers.lock().unwrap().pop_front();
    let Answer { status, headers, body } = next.unwrap_or_else(|| answer(599, "the test has no more answers"));
    let mut response = (axum::http::StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A task as a server shows it.
pub(crate) fn task(number: u32, status: &str) -> Value {
    serde_json::json!({
        "id": id(number), "created": "2024-05-01T10:11:12.123456789Z", "finished": "0001-01-01T00:00:00Z",
        "source": format!("h.example/team/app:{number}"), "source_size": 1, "target_size": 2, "status": status,
        "reason": if status == "FAILED" { "it broke" } else { "" }, "target": "h.example/team/app:t",
        "source_digest": null, "target_digest": null, "format": "estargz", "phase": "convert", "progress": 0.5,
        "layers_total": 2, "layers_converted": 1, "layers_reused": 0, "layers_mounted": 0, "layers_kept": 0,
        "duration_seconds": 1.5, "attempts": 0,
    })
}

pub(crate) fn id(number: u32) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}
