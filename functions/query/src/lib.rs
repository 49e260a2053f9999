//! Answers questions about tasks: the list, one task, health and metrics. Reads only.
//!
//! With a secret configured, the list and single tasks need an `Authorization` header and show what it covers.

mod list;
mod one;

mod health;
mod metrics;

#[cfg(feature = "lambda")]
pub mod lambda;

use std::sync::Arc;

use accel_domain::Timestamp;
use accel_domain::config::Config;
use accel_domain::task::{Shown, State, Task};
use accel_runtime::{ApiError, Clock, Gate};
use accel_tasks::{StoreError, TaskStore};
use axum::Router;
use axum::routing::get;

pub use metrics::MetricsPage;

/// What the query function works with.
pub struct Query<S, M> {
    store: Arc<S>,
    gate: Arc<Gate>,
    page: M,
    clock: Clock,
    has_admin: bool,
}

impl<S: TaskStore, M: MetricsPage> Query<S, M> {
    /// A query function over `store`; `gate` is that of `config`.
    #[must_use]
    pub fn new(config: &Config, store: Arc<S>, gate: Arc<Gate>, page: M, clock: Clock) -> Self {
        Self { store, gate, page, clock, has_admin: config.server.admin_auth.is_some() }
    }

    /// A task as the API shows it: one that has joined another shows how that one is, as long as it is kept.
    async fn show(&self, task: &Task, now: Timestamp) -> Result<Shown, StoreError> {
        let other = match &task.joined {
            Some(id) if task.state == State::Joined => self.store.get(id, now).await?,
            _ => None,
        };
        Ok(other.map_or_else(|| Shown::of(task, now), |other| Shown::through(task, &other, now)))
    }
}

/// The query function's routes, without a fallback, so that they can be merged with others:
/// `GET /api/v1/conversions`, `GET /api/v1/conversions/{id}`, `GET /api/v1/health`, `GET /metrics`.
pub fn router<S: TaskStore, M: MetricsPage>(query: Query<S, M>) -> Router {
    Router::new()
        .route("/api/v1/conversions", get(list::conversions::<S, M>))
        .route("/api/v1/conversions/{id}", get(one::conversion::<S, M>))
        .route("/api/v1/health", get(health::health::<S, M>))
        .route("/metrics", get(metrics::metrics::<S, M>))
        .with_state(Arc::new(query))
}

/// The store cannot be read: the cause is logged, since it may name what is not the caller's business.
fn unreadable(error: &StoreError) -> ApiError {
    match error {
        StoreError::BadCursor => ApiError::illegal_parameter("`cursor` is not one that a list gave"),
        StoreError::Conflict
        | StoreError::KeyTaken(_)
        | StoreError::NotFound(_)
        | StoreError::Refused(_)
        | StoreError::Damaged { .. }
        | StoreError::InUse(_)
        | StoreError::Unavailable(_) => {
            tracing::error!(%error, "the task store cannot be read");
            ApiError::unhealthy("the task store cannot be read: the log of Accel says why")
        }
    }
}
