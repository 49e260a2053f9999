//! The counters of this process.

use std::sync::Arc;

use accel_runtime::ApiError;
use accel_runtime::metrics::CONTENT_TYPE;
use accel_tasks::TaskStore;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, header};

use crate::Query;

/// `GET /metrics`. Open, unless `server.admin_auth` is configured: then it needs that. The counters name no image.
pub(crate) async fn metrics<S: TaskStore>(
    State(query): State<Arc<Query<S>>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if query.has_admin && !query.gate.recognised(&headers).await?.admin {
        return Err(ApiError::unauthorized());
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], query.metrics.render()))
}
