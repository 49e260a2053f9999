//! What the registry saw, in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::header;
use axum::http::request::Parts;

use super::request::Request;
use super::rule::Fault;

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its kind.
    pub request: Request,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// The names of its headers, in lower case.
    pub headers: Vec<String>,
    /// Whether it came with an Authorization header.
    pub authorized: bool,
    /// Its Range header.
    pub range: Option<String>,
    /// Its Content-Range header.
    pub content_range: Option<String>,
    /// The fault that was played.
    pub fault: Option<Fault>,
    /// The status that was answered, if anything was.
    pub status: Option<u16>,
    /// Of a manifest that is put: the parts that the repository lacked when it came.
    pub lacked: Vec<String>,
    /// Bytes of its body that arrived so far.
    pub received_bytes: u64,
    /// Bytes of the answer's body that were sent so far.
    pub sent_bytes: u64,
}

/// The log of a registry.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Arc<Line>>>);

/// One line of the log, written to while the request runs.
#[derive(Debug)]
pub(super) struct Line {
    seen: Mutex<Seen>,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

impl Log {
    pub(super) fn open(&self, request: Request, path: &str, parts: &Parts, fault: Option<Fault>) -> Arc<Line> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let seen = Seen {
            request,
            method: parts.method.to_string(),
            path: path.to_owned(),
            headers: parts.headers.keys().map(ToString::to_string).collect(),
            authorized: parts.headers.contains_key(header::AUTHORIZATION),
            range: text(header::RANGE),
            content_range: text(header::CONTENT_RANGE),
            fault,
            status: None,
            lacked: Vec::new(),
            received_bytes: 0,
            sent_bytes: 0,
        };
        let line = Arc::new(Line { seen: Mutex::new(seen), received: AtomicU64::new(0), sent: AtomicU64::new(0) });
        lock(&self.0).push(Arc::clone(&line));
        line
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.0).iter().map(|line| line.snapshot()).collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl Line {
    pub(super) fn answered(&self, status: u16) {
        lock(&self.seen).status = Some(status);
    }

    pub(super) fn lacks(&self, parts: Vec<String>) {
        lock(&self.seen).lacked = parts;
    }

    fn snapshot(&self) -> Seen {
        let seen = lock(&self.seen).clone();
        let (received, sent) = (self.received.load(Ordering::SeqCst), self.sent.load(Ordering::SeqCst));
        Seen { received_bytes: received, sent_bytes: sent, ..seen }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
