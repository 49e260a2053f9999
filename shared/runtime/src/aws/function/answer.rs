//! A function that answers HTTP: the configuration makes its router; each request has its span, its log line and its
//! metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use accel_domain::config::Config;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use tower::ServiceExt as _;
use tracing::{Instrument as _, error, info, info_span};

use super::{Environment, Invocation};
use crate::ApiError;
use crate::config::{LoadError, Reloading};

/// A function that answers HTTP with the router that `make` makes of the configuration.
pub struct HttpFunction<M> {
    environment: Environment,
    router: Reloading<Router>,
    make: M,
}

impl<M: Fn(&Environment, Arc<Config>) -> Router> HttpFunction<M> {
    /// The function, with its configuration read. One that is wrong is reported, and read again for each request.
    pub async fn start(environment: Environment, make: M) -> Self {
        let router = environment.reloading();
        let function = Self { environment, router, make };
        if let Err(error) = function.router().await {
            report(&error);
        }
        function
    }

    /// Answers a request.
    pub async fn answer(&self, invocation: &Invocation, request: Request<Body>) -> Response {
        let span = info_span!("request", request.id = %invocation.request_id);
        let response = self.route(request).instrument(span).await;
        self.environment.flush(invocation);
        response
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let started = Instant::now();
        let response = match self.router().await {
            Ok(router) => {
                Router::clone(&router).oneshot(request).await.unwrap_or_else(|never: Infallible| match never {})
            }
            Err(error) => {
                report(&error);
                ApiError::unhealthy("the configuration cannot be used: the log of Accel says why").into_response()
            }
        };
        let elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
        info!(%method, path = %path.escape_debug(), status = response.status().as_u16(), elapsed_ms, "request");
        response
    }

    async fn router(&self) -> Result<Arc<Router>, LoadError> {
        let make = |config: Arc<Config>| {
            self.environment.follow(&config);
            std::future::ready(Ok::<_, Infallible>((self.make)(&self.environment, config)))
        };
        self.router.current(make).await
    }
}

/// Makes one set of the two that API Gateway sends: `each` has every header once, `all` every one as often as it came.
/// Where both are there, `each` says nothing more. It is emptied.
pub fn one_set(each: &mut HeaderMap, all: &mut HeaderMap) {
    let each = std::mem::take(each);
    if all.is_empty() {
        *all = each;
    }
}

fn report(error: &LoadError) {
    error!(error = error as &dyn std::error::Error, "the configuration cannot be used");
}
