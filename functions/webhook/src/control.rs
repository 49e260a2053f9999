//! Running a task again, and cancelling it.

use std::sync::Arc;

use accel_domain::task::{Refused, Shown, State as TaskState};
use accel_domain::{Task, TaskId};
use accel_runtime::{ApiError, Granted};
use accel_tasks::{StoreError, TaskQueue, TaskStore};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use crate::receive::not_stored;
use crate::{Webhook, admit};

/// The answer to what cannot be an id.
const NO_ID: &str = "there is no such task: ids are UUIDs, as `accelctl task list` shows them";

/// `POST /api/v1/conversions/{id}/retry`: from the beginning and at once. 202 with the task; 409 while it runs, or
/// while another task does the same.
pub(crate) async fn retry<S: TaskStore, Q: TaskQueue>(
    State(webhook): State<Arc<Webhook<S, Q>>>,
    path: Result<Path<TaskId>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let granted = webhook.gate.recognised(&headers).await?;
    let now = webhook.clock.now();
    let task = webhook.change(&granted, path, |task| Ok(task.retry(now)?)).await?;
    tracing::info!(task.id = %task.id, "a task is to run again");
    admit::send(&*webhook.store, &*webhook.queue, &task, now).await;
    let location = [(LOCATION, format!("../{}", task.id))];
    Ok((StatusCode::ACCEPTED, location, Json(Shown::of(&task, now))).into_response())
}

/// `DELETE /api/v1/conversions/{id}`: 200 with the task. One that runs stops soon; 409 if it has ended otherwise.
pub(crate) async fn cancel<S: TaskStore, Q: TaskQueue>(
    State(webhook): State<Arc<Webhook<S, Q>>>,
    path: Result<Path<TaskId>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let granted = webhook.gate.recognised(&headers).await?;
    let now = webhook.clock.now();
    let stop = |task: &mut Task| match task.cancel(&webhook.policy, now) {
        Err(Refused::Ended) if task.state == TaskState::Cancelled => Ok(()),
        outcome => Ok(outcome?),
    };
    let task = webhook.change(&granted, path, stop).await?;
    tracing::info!(task.id = %task.id, task.state = ?task.state, "a task is to stop");
    Ok(Json(Shown::of(&task, now)).into_response())
}

impl<S: TaskStore, Q: TaskQueue> Webhook<S, Q> {
    /// Changes a task that the header covers. Others are not there.
    async fn change(
        &self,
        granted: &Granted,
        path: Result<Path<TaskId>, PathRejection>,
        mut change: impl FnMut(&mut Task) -> Result<(), StoreError> + Send,
    ) -> Result<Task, ApiError> {
        let Path(id) = path.map_err(|_| ApiError::not_found(NO_ID))?;
        let changed = self.store.update(&id, self.clock.now(), |task| {
            if !granted.shows(task.source.host(), task.source.repository()) {
                return Err(StoreError::NotFound(task.id.clone()));
            }
            change(task)
        });
        changed.await.map(|(task, ())| task).map_err(|error| refused(&id, &error))
    }
}

fn refused(id: &TaskId, error: &StoreError) -> ApiError {
    match error {
        StoreError::NotFound(_) => ApiError::not_found(format!("there is no task {id}")),
        StoreError::Refused(Refused::Running) => ApiError::conflict("the task is running: cancel it first"),
        StoreError::Refused(_) | StoreError::KeyTaken(_) => ApiError::conflict(error.to_string()),
        StoreError::Conflict
        | StoreError::BadCursor
        | StoreError::Damaged { .. }
        | StoreError::InUse(_)
        | StoreError::Unavailable(_) => not_stored(error),
    }
}
