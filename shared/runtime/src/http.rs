//! What all our HTTP answers share: who asks, the form of errors, bounded bodies, the answer for what is not there.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http_body_util::BodyExt as _;
use serde_json::json;

use accel_domain::ByteSize;

use crate::{Gate, GateError, Granted, Metrics};

/// An error as the API writes it: `{"code": "...", "message": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code, which programs read: `ERR_…`.
    pub code: &'static str,
    /// What is wrong, for people. It goes out: no secret, no path of this machine.
    pub message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 400: the request makes no sense.
    pub fn illegal_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ERR_ILLEGAL_PARAMETER", message)
    }

    /// 401: the `Authorization` header is missing, or does not cover what is asked. It does not say which.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "ERR_UNAUTHORIZED", "invalid auth config")
    }

    /// 404: no such task, or one that the header does not cover.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ERR_NOT_FOUND", message)
    }

    /// 404: no such path, or not with this method.
    #[must_use]
    pub fn invalid_endpoint() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ERR_INVALID_ENDPOINT", "Endpoint not found")
    }

    /// 409: the task is not in a state for this.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ERR_CONFLICT", message)
    }

    /// 413: the body is larger than `server.webhook_body`.
    #[must_use]
    pub fn body_too_large(limit: ByteSize) -> Self {
        let message = format!("the body is larger than the limit of {limit} (server.webhook_body)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ERR_BODY_TOO_LARGE", message)
    }

    /// 429: too many requests.
    pub fn too_many_requests(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "ERR_TOO_MANY_REQUESTS", message)
    }

    /// 500: a task that was waited for has failed.
    pub fn convert_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR_CONVERT_FAILED", message)
    }

    /// 500: a part that is needed does not work; `message` names it.
    pub fn unhealthy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR_UNHEALTHY", message)
    }

    /// 500: our fault. The cause is logged, not sent.
    #[must_use]
    pub fn internal() -> Self {
        let message = "something went wrong here; the log of Accel says what";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR_INTERNAL", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "code": self.code, "message": self.message }))).into_response()
    }
}

impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::TooMany => Self::too_many_requests(error.to_string()),
            GateError::Secret { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request could not be authorised");
                Self::internal()
            }
        }
    }
}

impl Gate {
    /// What a request's `Authorization` header speaks for. Two of them are as none: nobody can say which one counts.
    ///
    /// # Errors
    /// 429 after too many wrong ones, 500 if it fits nothing that could be read.
    pub async fn granted(&self, headers: &HeaderMap) -> Result<Granted, ApiError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let first = values.next().map(HeaderValue::as_bytes);
        Ok(self.matching(first.filter(|_| values.next().is_none())).await?)
    }

    /// The same for those who look at tasks or change them: once a secret is configured, nobody does without one.
    ///
    /// # Errors
    /// As [`Gate::granted`], and 401 if the header speaks for nothing.
    pub async fn recognised(&self, headers: &HeaderMap) -> Result<Granted, ApiError> {
        let granted = self.granted(headers).await?;
        if granted.open || granted.is_recognised() { Ok(granted) } else { Err(ApiError::unauthorized()) }
    }
}

/// Answers everything `router` does not know, wrong methods too, with [`ApiError::invalid_endpoint`].
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let nothing = || async { ApiError::invalid_endpoint() };
    router.fallback(nothing).method_not_allowed_fallback(nothing)
}

/// The whole of a request's body.
///
/// # Errors
/// 413 if it is larger than `limit`, and nothing is kept where its length is announced; 400 if it breaks off.
pub async fn bounded_body(headers: &HeaderMap, body: Body, limit: ByteSize) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit.0) {
        hear_out(body, limit).await;
        return Err(ApiError::body_too_large(limit));
    }
    let most = usize::try_from(limit.0).unwrap_or(usize::MAX);
    axum::body::to_bytes(body, most).await.map_err(|error| {
        if is_length_limit(&error) {
            ApiError::body_too_large(limit)
        } else {
            ApiError::illegal_parameter("the body broke off")
        }
    })
}

/// Reads on where a body is not far beyond the limit, and keeps nothing: who is cut off while still sending sees a broken
/// connection instead of the answer.
async fn hear_out(body: Body, limit: ByteSize) {
    let most = usize::try_from(limit.0.saturating_mul(4)).unwrap_or(usize::MAX);
    let mut body = http_body_util::Limited::new(body, most);
    while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause = Some(error as &dyn std::error::Error);
    std::iter::from_fn(|| {
        let this = cause?;
        cause = this.source();
        Some(this)
    })
    .any(|error| error.is::<http_body_util::LengthLimitError>())
}

/// Middleware that counts webhook requests by status and measures them; the state is the [`Metrics`].
pub async fn count_webhook(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let response = next.run(request).await;
    metrics.webhook_answered(response.status().as_u16(), started.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use axum::middleware::from_fn_with_state;
    use axum::routing::{get, post};
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(router: Router, method: &str, path: &str, body: Body) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_get_the_same_404() {
        let router = with_fallbacks(Router::new().route("/api/v1/health", get(|| async { "Ok" })));
        for (method, path) in [("GET", "/"), ("POST", "/api/v1/health"), ("DELETE", "/api/v1/x")] {
            let (status, body) = answer(router.clone(), method, path, Body::empty()).await;
            assert_eq!(status, 404);
            assert_eq!(body, r#"{"code":"ERR_INVALID_ENDPOINT","message":"Endpoint not found"}"#, "{method} {path}");
        }
        assert_eq!(answer(router, "GET", "/api/v1/health", Body::empty()).await.1, "Ok");
    }

    #[tokio::test]
    async fn errors_have_acceld_codes() {
        let rows = [
            (ApiError::illegal_parameter("m"), 400, "ERR_ILLEGAL_PARAMETER"),
            (ApiError::unauthorized(), 401, "ERR_UNAUTHORIZED"),
            (ApiError::convert_failed("m"), 500, "ERR_CONVERT_FAILED"),
            (ApiError::unhealthy("m"), 500, "ERR_UNHEALTHY"),
            (ApiError::not_found("m"), 404, "ERR_NOT_FOUND"),
            (GateError::TooMany.into(), 429, "ERR_TOO_MANY_REQUESTS"),
        ];
        for (error, status, code) in rows {
            let router = Router::new().route("/", get(|| async { error }));
            let (got, body) = answer(router, "GET", "/", Body::empty()).await;
            assert_eq!(got, status);
            assert!(body.starts_with(&format!(r#"{{"code":"{code}","message":""#)), "{body}");
        }
    }

    #[tokio::test]
    async fn one_header_says_who_asks() {
        let rows: [(&str, &[&'static str], Option<bool>); 6] = [
            ("admin", &["admin"], Some(true)),
            ("admin", &["wrong"], None),
            ("admin", &[], None),
            ("admin", &["admin", "admin"], None),
            ("", &[], Some(false)),
            ("", &["a", "b"], Some(false)),
        ];
        for (admin, shown, expected) in rows {
            let server = if admin.is_empty() { String::new() } else { format!("server: {{ admin_auth: {admin} }}\n") };
            let config = accel_domain::config::parse(&format!("{server}registries: {{ h.example: {{}} }}"), "test");
            let clock = crate::clock::by_hand::HandClock::new().clock();
            let gate = Gate::new(&config.unwrap(), std::sync::Arc::new(crate::Secrets::default()), clock);
            let headers: HeaderMap =
                shown.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect();
            let admin = gate.recognised(&headers).await.map(|granted| granted.admin).ok();
            assert_eq!(admin, expected, "{shown:?}");
            assert!(gate.granted(&headers).await.is_ok(), "{shown:?}");
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded_announced_or_not() {
        let limit = ByteSize(8);
        let read = |headers: HeaderMap, body: Body| async move { bounded_body(&headers, body, limit).await };
        let announced = |bytes: u64| HeaderMap::from_iter([(CONTENT_LENGTH, bytes.into())]);
        assert_eq!(read(HeaderMap::new(), Body::from("12345678")).await.unwrap(), "12345678");
        assert_eq!(read(announced(8), Body::from("12345678")).await.unwrap(), "12345678");
        for (headers, body) in [(HeaderMap::new(), "123456789"), (announced(9), "")] {
            assert_eq!(read(headers, Body::from(body)).await.unwrap_err().status, 413);
        }
    }

    #[tokio::test]
    async fn webhook_requests_are_counted_by_status() {
        let metrics = Metrics::new();
        let router = with_fallbacks(Router::new().route("/hook", post(|| async { "Ok" })))
            .layer(from_fn_with_state(metrics.clone(), count_webhook));
        answer(router.clone(), "POST", "/hook", Body::empty()).await;
        answer(router, "POST", "/none", Body::empty()).await;
        let text = metrics.render();
        assert!(text.contains("webhook_request_total{code=\"200\"} 1"), "{text}");
        assert!(text.contains("webhook_request_total{code=\"404\"} 1"), "{text}");
        assert!(text.contains("webhook_request_duration_seconds_count 2"), "{text}");
    }
}
