//! The layer around the registry: logs each request and plays the fault that a rule has for it.

use std::sync::{Arc, Mutex};

use accel_registry_server::{Registry, Target};
use axum::body::HttpBody as _;
use axum::extract::{ConnectInfo, Request as HttpRequest, State};
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer;
use super::bodies::{self, Gate, Way};
use super::line::{Cut, Line};
use super::request::Request;
use super::rule::{Fault, Rule};
use super::seen::{Log, lock};
use super::turns::Turns;
use super::whole;

/// What the layer and the test share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) registry: Registry,
    pub(super) rules: Mutex<Vec<Rule>>,
    pub(super) log: Log,
    pub(super) gate: Arc<Gate>,
    pub(super) turns: Turns,
}

impl Stage {
    /// Every rule counts the request; the first that applies is played.
    fn pick(&self, request: Request, path: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let applying: Vec<&mut Rule> =
            rules.iter_mut().filter_map(|rule| rule.applies(request, path).then_some(rule)).collect();
        applying.into_iter().next().map(|rule| rule.fault.clone())
    }
}

pub(super) async fn play(
    State(stage): State<Arc<Stage>>,
    ConnectInfo(line): ConnectInfo<Line>,
    http: HttpRequest,
    next: Next,
) -> Response {
    let (parts, body) = http.into_parts();
    let request = Request::of(&parts.method, &parts.uri);
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let fault = stage.pick(request, &path);
    let entry = stage.log.open(request, &path, &parts, fault.clone());
    let mut body = bodies::counted(body, Arc::clone(&entry), Way::Received);
    if request == Request::ManifestPut {
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        entry.lacks(whole::lacks(stage.registry.content(), &parts.uri, &bytes));
        body = bytes.into();
    }
    let scene = Scene { stage: &stage, line, path, http: HttpRequest::from_parts(parts, body), next };
    let response = match fault {
        Some(fault) => scene.play(fault).await,
        None => scene.work().await,
    };
    entry.answered(response.status().as_u16());
    let (mut parts, body) = response.into_parts();
    // Counting hides the body's length from the server, which would then send it in chunks.
    if let Some(size) = body.size_hint().exact().filter(|_| parts.status != StatusCode::NO_CONTENT) {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert(size.into());
    }
    Response::from_parts(parts, bodies::counted(body, entry, Way::Sent))
}

/// One request on its way to the registry.
struct Scene<'a> {
    stage: &'a Stage,
    line: Line,
    path: String,
    http: HttpRequest,
    next: Next,
}

impl Scene<'_> {
    async fn work(self) -> Response {
        self.next.run(self.http).await
    }

    async fn play(self, fault: Fault) -> Response {
        match fault {
            Fault::Status { status, code, retry_after, words } => {
                self.instead(answer::refusal(status, &code, &words, retry_after.as_deref())).await
            }
            Fault::Answers { status, headers, body } => self.instead(answer::given(status, &headers, body)).await,
            Fault::Html => self.instead(answer::html()).await,
            Fault::Redirect { status, to } => {
                let redirect = answer::redirect(status, &to, &self.path);
                self.instead(redirect).await
            }
            Fault::Held => {
                self.stage.turns.wait(Request::of(self.http.method(), self.http.uri()), &self.path).await;
                self.work().await
            }
            Fault::NoHead => self.instead(StatusCode::METHOD_NOT_ALLOWED.into_response()).await,
            Fault::Reset | Fault::AnswerLost | Fault::Hang | Fault::ResetInUpload { .. } => {
                self.unanswered(fault).await
            }
            Fault::KeepsPart { .. }
            | Fault::NoRange
            | Fault::NoMount
            | Fault::SessionLost
            | Fault::TokenExpired
            | Fault::BlobGone(_) => self.other_request(fault).await,
            other => self.other_answer(other).await,
        }
    }

    /// Answers without doing the work. The body is read, so that the client sees the answer and not a reset.
    async fn instead(self, response: Response) -> Response {
        drop(axum::body::to_bytes(self.http.into_body(), usize::MAX).await);
        response
    }

    /// Faults that end without an answer, or without one in time.
    async fn unanswered(mut self, fault: Fault) -> Response {
        let line = self.line.clone();
        match fault {
            Fault::Hang => {
                let gate = Arc::clone(&self.stage.gate);
                gate.pass().await;
                return self.work().await;
            }
            Fault::AnswerLost => drop(self.work().await),
            Fault::ResetInUpload { after } => {
                self.http = self.http.map(|body| bodies::broken_after(body, after));
                drop(self.work().await);
            }
            _ => {}
        }
        // What is answered is never written: the line is cut first.
        line.cut(Cut::Reset);
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    }

    /// Faults that change the request, or the registry, before the work is done.
    async fn other_request(mut self, fault: Fault) -> Response {
        match fault {
            Fault::SessionLost => self.stage.registry.content().forget_uploads(),
            Fault::TokenExpired => self.stage.registry.expire_tokens(),
            Fault::BlobGone(digest) => self.remove_blob(digest),
            Fault::NoMount => {
                *self.http.uri_mut() = self.http.uri().path().parse().expect("a path alone is an address");
            }
            Fault::NoRange => {
                self.http.headers_mut().remove(header::RANGE);
                let mut response = self.work().await;
                response.headers_mut().remove(header::ACCEPT_RANGES);
                return response;
            }
            Fault::KeepsPart { bytes, status } => {
                // Less arrives than these headers promise.
                for name in [header::CONTENT_RANGE, header::CONTENT_LENGTH] {
                    self.http.headers_mut().remove(name);
                }
                self.http = self.http.map(|body| bodies::shortened(body, bytes));
                return answer::kept(status, &self.work().await);
            }
            _ => {}
        }
        self.work().await
    }

    /// Faults that change the answer after the work was done.
    async fn other_answer(self, fault: Fault) -> Response {
        let (line, gate) = (self.line.clone(), Arc::clone(&self.stage.gate));
        if fault == Fault::NoReferrers && Request::of(self.http.method(), self.http.uri()) == Request::Referrers {
            return StatusCode::NOT_FOUND.into_response();
        }
        let (content, uri) = (self.stage.registry.content().clone(), self.http.uri().clone());
        let mut response = self.work().await;
        match fault {
            Fault::ResetInBody { after } => {
                answer::with_body(response, |bytes| bodies::cut(head(bytes, after), line, Cut::Reset)).await
            }
            Fault::ClosedInBody { after } => {
                answer::with_body(response, |bytes| bodies::cut(head(bytes, after), line, Cut::Close)).await
            }
            Fault::Stalled { after } => answer::with_body(response, |bytes| bodies::stalled(bytes, after, gate)).await,
            Fault::Slow { piece, pause } => {
                answer::with_body(response, |bytes| bodies::slow(bytes, piece, pause)).await
            }
            Fault::WrongBytes => answer::with_bytes(response, answer::wrong).await,
            Fault::Shorter { by } => {
                answer::with_bytes(response, |mut bytes| {
                    bytes.truncate(bytes.len().saturating_sub(by));
                    bytes
                })
                .await
            }
            Fault::Longer { by } => {
                answer::with_bytes(response, |mut bytes| {
                    bytes.resize(bytes.len() + by, 0);
                    bytes
                })
                .await
            }
            Fault::ManifestTooLarge => answer::with_bytes(response, answer::too_large).await,
            Fault::Endless => {
                let mut response = answer::with_body(response, bodies::endless).await;
                response.headers_mut().remove(header::CONTENT_LENGTH);
                response
            }
            Fault::Header { name, value } => {
                answer::set(&mut response, &name, value.as_deref());
                response
            }
            Fault::NoReferrers => {
                response.headers_mut().remove(HeaderName::from_static("oci-subject"));
                response
            }
            Fault::LocationAt(origin) => {
                answer::relocate(&mut response, &origin);
                response
            }
            Fault::BlobVanishes => {
                vanish(&content, &uri);
                response
            }
            _ => response,
        }
    }

    fn remove_blob(&self, digest: accel_image::Digest) {
        if let Some(repository) = Target::parse(self.http.uri().path()).as_ref().and_then(Target::repository) {
            self.stage.registry.content().remove_blob(repository, digest);
        }
    }
}

fn head(bytes: bytes::Bytes, after: usize) -> bytes::Bytes {
    bytes.slice(..after.min(bytes.len()))
}

fn vanish(content: &accel_registry_server::Content, uri: &Uri) {
    if let Some(Target::Blob { repository, digest }) = Target::parse(uri.path())
        && let Ok(digest) = digest.parse()
    {
        content.remove_blob(&repository, digest);
    }
}
