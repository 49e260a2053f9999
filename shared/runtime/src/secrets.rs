//! Secrets: from reference to value, when it is used and not before.
//!
//! A value is kept 5 minutes. Who finds that one does not fit asks for it anew ([`Secrets::refetch`], once per 10
//! seconds at most); after a rotation the value before is good for another 15 minutes. Errors name the reference,
//! never a value.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use accel_domain::secret::{Secret, SecretPart, SecretRef};
use accel_domain::{ErrorClass, Timestamp};
use jiff::SignedDuration;
use tokio::io::AsyncReadExt as _;

use crate::Clock;
use crate::remote::RemoteError;

/// How long a value is believed.
const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How long the value before a rotation is accepted, and a value that cannot be read anew is used.
const GRACE: SignedDuration = SignedDuration::from_mins(15);
/// The least time between two reads because of a mismatch.
const REFETCH: SignedDuration = SignedDuration::from_secs(10);
/// Larger files are no secrets.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Whether `then` is less than `time` ago. What lies in the future, after the clock was set back, is not.
fn is_within(time: SignedDuration, then: Timestamp, now: Timestamp) -> bool {
    (SignedDuration::ZERO..time).contains(&now.duration_since(then))
}

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// An environment variable is not there.
    #[error("the environment variable {0} is not set, or is not UTF-8")]
    Unset(String),
    /// A file cannot be read.
    #[error("the secret's file {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else than a secret.
    #[error("the secret's file {0} is not text of at most 64 KiB")]
    NotText(PathBuf),
    /// Nothing in this process reads from there.
    #[error("{0} cannot be read in this process: use ${{env:VARIABLE}} or ${{file:PATH}}")]
    NotAvailable(SecretRef),
    /// It cannot be read from AWS.
    #[error("the secret {reference} {problem}")]
    Remote {
        /// The secret.
        reference: SecretRef,
        /// Why.
        problem: RemoteError,
    },
    /// There is nothing in it.
    #[error("the secret {0} is empty")]
    Empty(SecretRef),
}

impl SecretError {
    /// Whether a later attempt may find it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::File { .. } => ErrorClass::BACKOFF,
            Self::Remote { problem, .. } => problem.class(),
            Self::Unset(_) | Self::NotText(_) | Self::NotAvailable(_) | Self::Empty(_) => ErrorClass::Permanent,
        }
    }
}

/// The values that a secret may have now.
#[derive(Debug, Clone)]
pub struct Values {
    /// The latest one.
    pub current: Secret,
    /// The one before, shortly after a rotation.
    pub previous: Option<Secret>,
}

#[derive(Clone)]
struct Kept {
    current: Secret,
    /// When the current value was last seen.
    seen: Timestamp,
    /// The value before, and when it was replaced.
    previous: Option<(Secret, Timestamp)>,
}

type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A secret in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteName {
    /// One of Secrets Manager, by its name or ARN.
    SecretsManager(String),
    /// A parameter of Systems Manager.
    Ssm(String),
}

type Asking = Pin<Box<dyn Future<Output = Result<Secret, RemoteError>> + Send>>;
type Remote = Box<dyn Fn(RemoteName) -> Asking + Send + Sync>;

/// Resolves references, and keeps what it has found.
pub struct Secrets {
    clock: Clock,
    environment: Environment,
    remote: Option<Remote>,
    kept: Mutex<HashMap<SecretRef, Kept>>,
    asked: Mutex<HashMap<SecretRef, Timestamp>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("kept", &lock(&self.kept).len()).finish_non_exhaustive()
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new(Clock::default())
    }
}

impl Secrets {
    /// Secrets of this process's environment and files.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::with_environment(clock, |name| std::env::var(name).ok())
    }

    /// Secrets of another environment, and files.
    pub fn with_environment(
        clock: Clock,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let (kept, asked) = Default::default();
        Self { clock, environment: Box::new(environment), remote: None, kept, asked }
    }

    /// The same with secrets in AWS, for which `ask` is asked.
    #[must_use]
    pub fn with_remote<F>(self, ask: impl Fn(RemoteName) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Secret, RemoteError>> + Send + 'static,
    {
        Self { remote: Some(Box::new(move |name| Box::pin(ask(name)))), ..self }
    }

    /// The value of `reference`.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn current(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        Ok(self.values(reference).await?.current)
    }

    /// The value of `reference` and, shortly after a rotation, the one before.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn values(&self, reference: &SecretRef) -> Result<Values, SecretError> {
        let kept = lock(&self.kept).get(reference).cloned();
        let now = self.clock.now();
        let kept = match kept {
            Some(kept) if is_within(FRESH, kept.seen, now) => kept,
            Some(kept) => match self.fetch(reference).await {
                Ok(found) => found,
                Err(error) if is_within(GRACE, kept.seen, now) => {
                    tracing::warn!(%error, "a secret cannot be read anew; its last value is used for now");
                    kept
                }
                Err(error) => return Err(error),
            },
            None => self.fetch(reference).await?,
        };
        let previous = kept.previous.filter(|(_, replaced)| is_within(GRACE, *replaced, now)).map(|(secret, _)| secret);
        Ok(Values { current: kept.current, previous })
    }

    /// Reads `reference` anew, because its value did not fit. Returns whether there is another one now; false also
    /// where the last such read was less than 10 seconds ago.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn refetch(&self, reference: &SecretRef) -> Result<bool, SecretError> {
        let now = self.clock.now();
        if lock(&self.asked).get(reference).is_some_and(|last| is_within(REFETCH, *last, now)) {
            return Ok(false);
        }
        let before = lock(&self.kept).get(reference).map(|kept| kept.current.clone());
        let found = self.fetch(reference).await;
        // Not before it is read: who is told that somebody has just looked can count on what was found.
        lock(&self.asked).insert(reference.clone(), now);
        let found = found?;
        Ok(before.is_none_or(|before| before.expose() != found.current.expose()))
    }

    /// Reads `reference` and keeps its value, beside the one before if they differ.
    async fn fetch(&self, reference: &SecretRef) -> Result<Kept, SecretError> {
        let current = self.resolve(reference).await?;
        let now = self.clock.now();
        let mut all = lock(&self.kept);
        let previous = match all.remove(reference) {
            Some(old) if old.current.expose() != current.expose() => Some((old.current, now)),
            Some(old) => old.previous,
            None => None,
        };
        let kept = Kept { current, seen: now, previous };
        all.insert(reference.clone(), kept.clone());
        Ok(kept)
    }

    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        let mut value = String::new();
        for part in reference.parts() {
            match part {
                SecretPart::Literal(text) => value.push_str(text.expose()),
                SecretPart::Env(name) => {
                    let found = (self.environment)(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                    value.push_str(&found);
                }
                SecretPart::File(path) => value.push_str(&file(path).await?),
                SecretPart::SecretsManager(name) => {
                    value.push_str(self.remote(reference, name, RemoteName::SecretsManager).await?.expose());
                }
                SecretPart::Ssm(name) => {
                    value.push_str(self.remote(reference, name, RemoteName::Ssm).await?.expose());
                }
            }
        }
        if value.is_empty() { Err(SecretError::Empty(reference.clone())) } else { Ok(Secret::new(value)) }
    }

    /// A secret in AWS: all of it, or with `NAME#KEY` the text under a key of a JSON object.
    async fn remote(
        &self,
        reference: &SecretRef,
        name: &str,
        place: fn(String) -> RemoteName,
    ) -> Result<Secret, SecretError> {
        let ask = self.remote.as_ref().ok_or_else(|| SecretError::NotAvailable(reference.clone()))?;
        let failed = |problem| SecretError::Remote { reference: reference.clone(), problem };
        let (name, key) = name.split_once('#').map_or((name, None), |(name, key)| (name, Some(key)));
        let secret = ask(place(name.to_owned())).await.map_err(failed)?;
        match key {
            Some(key) => text_under(key, &secret).map_err(failed),
            None => Ok(secret),
        }
    }
}

/// The text that stands under `key` in a secret that is a JSON object.
fn text_under(key: &str, secret: &Secret) -> Result<Secret, RemoteError> {
    let fields: Option<HashMap<String, serde_json::Value>> = serde_json::from_str(secret.expose()).ok();
    match fields.and_then(|mut fields| fields.remove(key)) {
        Some(serde_json::Value::String(text)) => Ok(Secret::new(text)),
        Some(_) | None => Err(RemoteError::NoKey(key.to_owned())),
    }
}

/// A file's text without the line end that editors put at its end.
async fn file(path: &str) -> Result<String, SecretError> {
    let path = PathBuf::from(path);
    let unreadable = |source| SecretError::File { path: path.clone(), source };
    let opened = tokio::fs::File::open(&path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    opened.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= MAX_SECRET_BYTES);
    let text = text.ok_or(SecretError::NotText(path))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
}

/// The maps are whole whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
