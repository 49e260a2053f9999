//! One task.

use std::sync::Arc;

use accel_domain::TaskId;
use accel_domain::task::{Shown, TaskIdError};
use accel_runtime::ApiError;
use accel_tasks::TaskStore;
use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;

use crate::{Query, unreadable};

/// `GET /api/v1/conversions/{id}`. A task that the header does not cover is not there.
pub(crate) async fn conversion<S: TaskStore>(
    State(query): State<Arc<Query<S>>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Shown>, ApiError> {
    let granted = query.granted(&headers).await?;
    let now = query.clock.now();
    let id: TaskId = id.parse().map_err(|error: TaskIdError| ApiError::not_found(error.to_string()))?;
    let found = query.store.get(&id, now).await.map_err(|error| unreadable(&error))?;
    let task = found
        .filter(|task| granted.shows(task.source.host(), task.source.repository()))
        .ok_or_else(|| ApiError::not_found(format!("there is no task {id}")))?;
    Ok(Json(query.show(&task, now).await.map_err(|error| unreadable(&error))?))
}
