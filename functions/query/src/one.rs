//! One task.

use std::sync::Arc;

use accel_domain::TaskId;
use accel_domain::task::Shown;
use accel_runtime::ApiError;
use accel_tasks::TaskStore;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::HeaderMap;

use crate::{MetricsPage, Query, unreadable};

/// The answer to what cannot be an id.
const NO_ID: &str = "there is no such task: ids are UUIDs, as `accelctl task list` shows them";

/// `GET /api/v1/conversions/{id}`. A task that the header does not cover is not there.
pub(crate) async fn conversion<S: TaskStore, M: MetricsPage>(
    State(query): State<Arc<Query<S, M>>>,
    path: Result<Path<TaskId>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Shown>, ApiError> {
    let granted = query.gate.recognised(&headers).await?;
    let now = query.clock.now();
    let Path(id) = path.map_err(|_| ApiError::not_found(NO_ID))?;
    let found = query.store.get(&id, now).await.map_err(|error| unreadable(&error))?;
    let task = found
        .filter(|task| granted.shows(task.source.host(), task.source.repository()))
        .ok_or_else(|| ApiError::not_found(format!("there is no task {id}")))?;
    Ok(Json(query.show(&task, now).await.map_err(|error| unreadable(&error))?))
}
