//! One log line a request.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

/// Middleware: logs method, path, status and time. Never headers, query or body.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let started = Instant::now();
    let response = next.run(request).await;
    if path != "/metrics" {
        let elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
        info!(%method, path = %path.escape_debug(), status = response.status().as_u16(), elapsed_ms, "request");
    }
    response
}
