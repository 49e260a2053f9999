//! An answer of a registry: its head, and a body that is read under limits.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, Url};

use crate::challenge::{self, Challenge};
use crate::error::{Action, NetworkError, RegistryError};
use crate::refusal::Refused;
use crate::retry;
use crate::sent_authorization::SentAuthorization;

/// How much of an error's body is read.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// A registry's answer. The body has not been read.
pub(crate) struct Answer {
    response: Response,
    pub(crate) action: Action,
    sent: SentAuthorization,
    idle: Duration,
}

impl Answer {
    /// The answer to a request that was sent with `sent`.
    pub(crate) const fn new(response: Response, action: Action, sent: SentAuthorization, idle: Duration) -> Self {
        Self { response, action, sent, idle }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    pub(crate) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.response.headers().get(name.into())?.to_str().ok()
    }

    pub(crate) fn named_header(&self, name: &'static str) -> Option<&str> {
        self.header(HeaderName::from_static(name))
    }

    /// The Content-Length header, which a HEAD has although it has no body.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        let headers = self.response.headers().get_all(WWW_AUTHENTICATE);
        challenge::parse(headers.iter().filter_map(|value| value.to_str().ok()))
    }

    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self.status(), 301 | 302 | 303 | 307 | 308)
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(self.network(error.into())),
            Err(_) => Err(RegistryError::TimedOut { action: Box::new(self.action.clone()), waited: self.idle }),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is larger than `limit` bytes, or the connection broke. No more than the limit is kept at any time.
    pub(crate) async fn body(&mut self, limit: u64) -> Result<Bytes, RegistryError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(RegistryError::TooLarge { action: Box::new(self.action.clone()), limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// This answer if its status is one of `expected`, the error that it means otherwise.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] and its siblings.
    pub(crate) async fn expect(self, expected: &[u16]) -> Result<Self, RegistryError> {
        if expected.contains(&self.status()) { Ok(self) } else { Err(self.into_error().await) }
    }

    pub(crate) async fn into_error(mut self) -> RegistryError {
        let mut body = BytesMut::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > MAX_ERROR_BYTES {
                break;
            }
        }
        let retry_after = self.header(RETRY_AFTER).and_then(|text| retry::parse_retry_after(text, SystemTime::now()));
        let status = self.status();
        Refused::new(self.action, status, &body, retry_after, &self.sent).into_error()
    }

    /// An error for an answer that breaks the protocol.
    pub(crate) fn protocol(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Protocol { action: Box::new(self.action.clone()), reason: reason.into() }
    }

    fn network(&self, source: NetworkError) -> RegistryError {
        RegistryError::Network { action: Box::new(self.action.clone()), source }
    }
}
