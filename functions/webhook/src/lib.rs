//! Takes push events and makes tasks of them; also runs tasks again and cancels them.
//!
//! The main path of an event: `receive` bounds and authenticates the request, `payload` reads it, `plan` matches
//! it with the rules, `admit` writes the tasks and sends their messages. No registry is ever asked for anything.

mod receive;

pub mod payload;

mod rules;

mod plan;

mod admit;

mod wait;

mod control;

#[cfg(feature = "lambda")]
pub mod lambda;

use std::sync::Arc;

use accel_domain::config::Config;
use accel_domain::task::RetryPolicy;
use accel_runtime::http::count_webhook;
use accel_runtime::{Clock, Gate, Metrics};
use accel_tasks::{TaskQueue, TaskStore};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, post};

pub use wait::SyncWait;

use rules::Rules;

/// What the webhook works with.
pub struct Webhook<S, Q> {
    rules: Rules,
    policy: RetryPolicy,
    /// Whether events of some registry are accepted from everybody.
    has_open_hosts: bool,
    store: Arc<S>,
    queue: Arc<Q>,
    gate: Arc<Gate>,
    metrics: Metrics,
    clock: Clock,
    wait: SyncWait,
}

impl<S: TaskStore, Q: TaskQueue> Webhook<S, Q> {
    /// A webhook for `config`, whose gate `gate` is. With `sync=true` it waits until the tasks have ended.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        store: Arc<S>,
        queue: Arc<Q>,
        gate: Arc<Gate>,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let guarded: Vec<_> = config.webhook_secrets().into_iter().map(|secret| secret.host).collect();
        let has_open_hosts = config.hosts().any(|host| !guarded.contains(&host));
        let policy = config.retry_policy();
        let (rules, wait) = (Rules::new(config), SyncWait::default());
        Self { rules, policy, has_open_hosts, store, queue, gate, metrics, clock, wait }
    }

    /// How long `sync=true` waits.
    #[must_use]
    pub fn with_wait(self, wait: SyncWait) -> Self {
        Self { wait, ..self }
    }
}

/// The webhook's routes, without a fallback, so that they can be merged with others (then
/// [`accel_runtime::http::with_fallbacks`], once):
///
/// | route | answers |
/// | --- | --- |
/// | `POST /api/v1/conversions?sync=` | 200 once the tasks are stored; 400, 401, 413, 429; 500 where they could not be stored (the sender comes again) or, with `sync`, one has failed; 202 where the wait ran out |
/// | `POST /api/v1/conversions/{id}/retry` | 202 with the task; 401, 404; 409 while it or another task for the same runs |
/// | `DELETE /api/v1/conversions/{id}` | 200 with the task; 401, 404; 409 if it has ended |
pub fn router<S: TaskStore, Q: TaskQueue>(webhook: Webhook<S, Q>) -> Router {
    let counted = from_fn_with_state(webhook.metrics.clone(), count_webhook);
    Router::new()
        .route("/api/v1/conversions", post(receive::conversions::<S, Q>).layer(counted))
        .route("/api/v1/conversions/{id}/retry", post(control::retry::<S, Q>))
        .route("/api/v1/conversions/{id}", delete(control::cancel::<S, Q>))
        .with_state(Arc::new(webhook))
}
