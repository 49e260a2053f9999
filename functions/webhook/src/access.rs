//! Who asks: the `Authorization` header, which may stand there once.

use accel_runtime::{ApiError, Gate, Granted};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// What the header speaks for. Two headers are as none: nobody can say which one counts.
pub(crate) async fn granted(gate: &Gate, headers: &HeaderMap) -> Result<Granted, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    Ok(gate.matching(first.filter(|_| values.next().is_none())).await?)
}

/// The same for those who look at tasks or change them: once a secret is configured, nobody does without one.
pub(crate) async fn known(gate: &Gate, headers: &HeaderMap) -> Result<Granted, ApiError> {
    let granted = granted(gate, headers).await?;
    if granted.open || granted.is_recognised() { Ok(granted) } else { Err(refused()) }
}

/// The one answer to everybody who is not let in.
pub(crate) fn refused() -> ApiError {
    ApiError::unauthorized("invalid auth config")
}
