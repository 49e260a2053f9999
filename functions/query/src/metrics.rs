//! The page of counters: of this process, or of all that share a table.

use std::sync::Arc;

use accel_runtime::metrics::CONTENT_TYPE;
use accel_runtime::{ApiError, Metrics};
use accel_tasks::{StoreError, TaskStore};
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, header};

use crate::{Query, unreadable};

/// The page of some counters.
pub trait MetricsPage: Send + Sync + 'static {
    /// The `Content-Type` of the page.
    const CONTENT_TYPE: &str;

    /// The page, as it is now.
    fn render(&self) -> impl Future<Output = Result<String, StoreError>> + Send;
}

/// Those of this process.
impl MetricsPage for Metrics {
    const CONTENT_TYPE: &str = CONTENT_TYPE;

    async fn render(&self) -> Result<String, StoreError> {
        Ok(Metrics::render(self))
    }
}

/// `GET /metrics`. Open, unless `server.admin_auth` is configured: then it needs that. The counters name no image.
pub(crate) async fn metrics<S: TaskStore, M: MetricsPage>(
    State(query): State<Arc<Query<S, M>>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if query.has_admin && !query.gate.recognised(&headers).await?.admin {
        return Err(ApiError::unauthorized());
    }
    let page = query.page.render().await.map_err(|error| unreadable(&error))?;
    Ok(([(header::CONTENT_TYPE, M::CONTENT_TYPE)], page))
}
