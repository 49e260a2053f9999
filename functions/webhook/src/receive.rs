//! `POST /api/v1/conversions`: an event comes in, its tasks are written, and only then it is answered.

use std::collections::HashMap;
use std::sync::Arc;

use accel_domain::{Event, TaskId};
use accel_runtime::http::bounded_body;
use accel_runtime::{ApiError, Granted};
use accel_tasks::{StoreError, TaskQueue, TaskStore};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::wait::{self, SyncWait, Waited};
use crate::{Webhook, admit, payload, plan};

/// The ids of all tasks that stand for an event, comma separated; joined ones too.
const TASK_ID: HeaderName = HeaderName::from_static("x-accel-task-id");

type Params = HashMap<String, String>;

/// Takes an event.
pub(crate) async fn conversions<S: TaskStore, Q: TaskQueue>(
    State(webhook): State<Arc<Webhook<S, Q>>>,
    params: Result<Query<Params>, QueryRejection>,
    within: Option<Extension<SyncWait>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = bounded_body(&headers, body, webhook.rules.config.server.webhook_body).await?;
    let granted = webhook.sender(&headers).await?;
    let events = webhook.read(&headers, &body)?;
    webhook.authorise(&granted, &events)?;
    let ids = webhook.admit(&events).await?;
    let wait = params.is_ok_and(|Query(params)| params.get("sync").is_some_and(|text| is_true(text)));
    let within = within.map_or(webhook.wait, |Extension(within)| within);
    let mut answer = if wait { webhook.answer_at_end(&ids, within).await? } else { ok() };
    if !ids.is_empty() {
        answer.headers_mut().insert(TASK_ID, header(&ids));
    }
    Ok(answer)
}

impl<S: TaskStore, Q: TaskQueue> Webhook<S, Q> {
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Event>, ApiError> {
        let events = payload::parse(headers, body, &|host| self.rules.host(host));
        events.map_err(|error| ApiError::illegal_parameter(error.to_string()))
    }

    /// Who sends. A stranger is heard only where events of some registry are accepted from everybody.
    async fn sender(&self, headers: &HeaderMap) -> Result<Granted, ApiError> {
        let granted = self.gate.granted(headers).await?;
        let heard = granted.open || granted.is_recognised() || self.has_open_hosts;
        if heard { Ok(granted) } else { Err(ApiError::unauthorized()) }
    }

    /// One resource that is not covered stops all of them. Hosts that are not configured are answered as bad secrets
    /// are, so that nobody learns which ones are.
    fn authorise(&self, granted: &Granted, events: &[Event]) -> Result<(), ApiError> {
        for resource in events.iter().flat_map(|event| &event.resources) {
            let host = resource.reference.host();
            let known = self.rules.host(host).is_some();
            if !known || !granted.covers(host, resource.reference.repository()) {
                tracing::warn!(image.source = %resource.reference, registry.host = host, known, "an event is refused");
                return Err(ApiError::unauthorized());
            }
        }
        Ok(())
    }

    async fn admit(&self, events: &[Event]) -> Result<Vec<TaskId>, ApiError> {
        let now = self.clock.now();
        let (mut tasks, mut unnamed) = (Vec::new(), None);
        for event in events {
            let plan = plan::plan(&self.rules, event, &self.policy, now);
            tasks.extend(plan.tasks);
            unnamed = unnamed.or_else(|| plan.unnamed.into_iter().next());
        }
        if let Some(error) = unnamed.filter(|_| tasks.is_empty()) {
            return Err(ApiError::illegal_parameter(error.to_string()));
        }
        admit::all(&*self.store, &*self.queue, tasks, &self.policy, now).await.map_err(|error| not_stored(&error))
    }

    async fn answer_at_end(&self, ids: &[TaskId], within: SyncWait) -> Result<Response, ApiError> {
        match wait::until_ended(&*self.store, ids, within, &self.clock).await.map_err(|error| not_stored(&error))? {
            Waited::Completed => Ok(ok()),
            Waited::Failed(reason) => Ok(failed(reason)),
            Waited::Unfinished(id) => Ok(unfinished(&id)),
        }
    }
}

/// acceld's five bytes.
fn ok() -> Response {
    ([(CONTENT_TYPE, "application/json")], "\"Ok\"\n").into_response()
}

fn failed(reason: String) -> Response {
    ApiError::convert_failed(reason).into_response()
}

/// The place is relative: a front door may have put a prefix before our paths.
fn unfinished(id: &TaskId) -> Response {
    let location = [(LOCATION, format!("conversions/{id}"))];
    (StatusCode::ACCEPTED, location, ok()).into_response()
}

fn header(ids: &[TaskId]) -> HeaderValue {
    let text: Vec<_> = ids.iter().map(ToString::to_string).collect();
    HeaderValue::from_str(&text.join(",")).expect("ids are hexadecimal digits and dashes")
}

/// Go's `strconv.ParseBool`, as acceld has it; what is neither true nor false is false.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// The sender tries again: what was written is found by its delivery.
pub(crate) fn not_stored(error: &StoreError) -> ApiError {
    tracing::error!(%error, "the task store failed");
    ApiError::convert_failed("the task store failed: send this again")
}
