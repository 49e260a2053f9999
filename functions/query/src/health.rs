//! Whether Accel can do its work. Open to everybody: load balancers ask it.

use std::sync::Arc;

use accel_runtime::ApiError;
use accel_tasks::TaskStore;
use axum::extract::State;

use crate::{MetricsPage, Query};

/// `GET /api/v1/health`: `Ok`, or the part that fails.
pub(crate) async fn health<S: TaskStore, M: MetricsPage>(
    State(query): State<Arc<Query<S, M>>>,
) -> Result<&'static str, ApiError> {
    match query.store.check().await {
        Ok(()) => Ok("Ok"),
        Err(error) => {
            tracing::error!(%error, "the task store does not work");
            Err(ApiError::unhealthy("the task store does not work: the log of Accel says why"))
        }
    }
}
