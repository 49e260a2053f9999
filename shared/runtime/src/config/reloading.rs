//! A configuration that may be edited while the process lives.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use accel_domain::Timestamp;
use accel_domain::config::{Config, parse_in_aws};
use jiff::SignedDuration;

use super::LoadError;
use crate::Clock;

/// How long a configuration is believed before it is read anew.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

type Reading = Pin<Box<dyn Future<Output = Result<String, LoadError>> + Send>>;

/// The text of a configuration, wherever it is: read anew each time it is asked for.
pub struct Text {
    name: String,
    read: Box<dyn Fn() -> Reading + Send + Sync>,
}

impl Text {
    /// The text that `read` gives; faults in it are reported under `name`.
    pub fn new<F>(name: impl fmt::Display, read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, LoadError>> + Send + 'static,
    {
        Self { name: name.to_string(), read: Box::new(move || Box::pin(read())) }
    }
}

/// What is made of the configuration, and made anew when its text has changed: it is read again once it is a minute old.
/// If it cannot be read then, or is wrong ([`parse_in_aws`], and there have to be rules), what was made last stays and the
/// log says why.
pub struct Reloading<T> {
    text: Text,
    clock: Clock,
    kept: Mutex<Option<Kept<T>>>,
}

struct Kept<T> {
    text: Arc<str>,
    made: Arc<T>,
    looked: Timestamp,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), made: Arc::clone(&self.made), looked: self.looked }
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("name", &self.text.name).finish_non_exhaustive()
    }
}

impl<T> Reloading<T> {
    /// Nothing yet: it is made when it is asked for.
    #[must_use]
    pub const fn new(text: Text, clock: Clock) -> Self {
        Self { text, clock, kept: Mutex::new(None) }
    }

    /// What `make` makes of the configuration as it is now.
    ///
    /// # Errors
    /// See [`LoadError`], as long as nothing was ever made.
    pub async fn current<F, E>(&self, make: impl FnOnce(Arc<Config>) -> F) -> Result<Arc<T>, LoadError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let kept = self.lock().clone();
        let now = self.clock.now();
        if let Some(kept) = kept.as_ref().filter(|kept| is_fresh(kept.looked, now)) {
            return Ok(Arc::clone(&kept.made));
        }
        let next = match (self.make_anew(kept.as_ref(), make).await, kept) {
            (Ok(next), _) => next,
            (Err(error), Some(kept)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the configuration cannot be used as it is now; the last good one stays");
                kept
            }
            (Err(error), None) => return Err(error),
        };
        let made = Arc::clone(&next.made);
        *self.lock() = Some(Kept { looked: now, ..next });
        Ok(made)
    }

    async fn make_anew<F, E>(
        &self,
        kept: Option<&Kept<T>>,
        make: impl FnOnce(Arc<Config>) -> F,
    ) -> Result<Kept<T>, LoadError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let text = (self.text.read)().await?;
        if let Some(kept) = kept.filter(|kept| *kept.text == *text) {
            return Ok(kept.clone());
        }
        let config = parse_in_aws(&text, &self.text.name)?;
        config.required_rules()?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let made = make(Arc::new(config)).await.map_err(|error| self.unusable(error.into()))?;
        tracing::info!(config = %self.text.name, "configuration read");
        Ok(Kept { text: text.into(), made: Arc::new(made), looked: self.clock.now() })
    }

    fn unusable(&self, source: Box<dyn std::error::Error + Send + Sync>) -> LoadError {
        LoadError::Unusable { name: self.text.name.clone(), source }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(looked: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(looked);
    !age.is_negative() && age < FRESH
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::by_hand::HandClock;
    use crate::remote::RemoteError;

    const GOOD: &str = "registries: { h.example: {} }\nrules: [{ convert: [{ format: estargz }] }]\n";

    /// A text that tests edit, what is made of it (how often something was made), and the time.
    struct Place {
        edited: Arc<Mutex<Result<String, ()>>>,
        reads: Arc<AtomicU32>,
        time: HandClock,
        reloading: Reloading<u32>,
        makes: AtomicU32,
    }

    impl Place {
        fn new() -> Self {
            let (edited, reads) = (Arc::new(Mutex::new(Ok(GOOD.to_owned()))), Arc::new(AtomicU32::new(0)));
            let (time, text, counted) = (HandClock::new(), Arc::clone(&edited), Arc::clone(&reads));
            let location = crate::config::Location::Ssm("/accel/config".to_owned());
            let read = move || {
                counted.fetch_add(1, Ordering::Relaxed);
                let problem = RemoteError::Unreachable("time-out".to_owned());
                let text = text.lock().unwrap().clone();
                let text = text.map_err(|()| LoadError::Remote { location: location.clone(), problem });
                std::future::ready(text)
            };
            let reloading = Reloading::new(Text::new("ssm:/accel/config", read), time.clock());
            Self { edited, reads, time, reloading, makes: AtomicU32::new(0) }
        }

        fn edit(&self, text: Result<&str, ()>) {
            *self.edited.lock().unwrap() = text.map(str::to_owned);
        }

        async fn current(&self) -> Result<u32, String> {
            let make = |config: Arc<Config>| {
                let made = self.makes.fetch_add(1, Ordering::Relaxed) + 1;
                std::future::ready(if config.server.workers == 13 { Err("unlucky") } else { Ok(made) })
            };
            let shown = |error: LoadError| {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                format!("{error}: {source}")
            };
            self.reloading.current(make).await.map(|made| *made).map_err(shown)
        }
    }

    #[tokio::test]
    async fn it_is_read_each_minute_and_made_anew_when_it_has_changed() {
        let place = Place::new();
        for (passed, reads, made) in [(0, 1, 1), (59, 1, 1), (1, 2, 1), (60, 3, 1)] {
            place.time.pass(passed);
            assert_eq!(place.current().await.unwrap(), made);
            assert_eq!(place.reads.load(Ordering::Relaxed), reads);
        }
        place.edit(Ok(&format!("{GOOD}server: {{ workers: 3 }}")));
        assert_eq!(place.current().await.unwrap(), 1, "it is believed for a minute");
        place.time.pass(60);
        assert_eq!(place.current().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_bad_edit_leaves_the_last_good_one() {
        let place = Place::new();
        assert_eq!(place.current().await.unwrap(), 1);
        let unusable = format!("{GOOD}server: {{ workers: 13 }}");
        let bad = [Ok("server: { workerz: 3 }"), Err(()), Ok("registries: {}"), Ok(unusable.as_str())];
        for (round, text) in bad.into_iter().enumerate() {
            place.edit(text);
            place.time.pass(60);
            assert_eq!(place.current().await.unwrap(), 1, "{text:?}");
            assert_eq!(place.current().await.unwrap(), 1, "{text:?}");
            assert_eq!(place.reads.load(Ordering::Relaxed), 2 + u32::try_from(round).unwrap(), "a bad one rests, too");
        }
        place.edit(Ok(&format!("{GOOD}server: {{ workers: 4 }}")));
        place.time.pass(60);
        assert_eq!(place.current().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn without_a_good_one_it_is_an_error_and_tried_again() {
        let place = Place::new();
        let literal = GOOD.replace("{}", "{ username: u, password: hunter2 }");
        let rows = [
            (Ok("server:\n  workerz: 3"), "ssm:/accel/config:2:3: server.workerz"),
            (Ok("registries: { h.example: {} }"), "format: estargz"),
            (Ok(literal.as_str()), "ssm:/accel/config:1:"),
            (Err(()), "ssm:/accel/config could not be read: time-out"),
            (Ok(&format!("{GOOD}server: {{ workers: 13 }}")), "ssm:/accel/config cannot be used: unlucky"),
        ];
        for (text, expected) in rows {
            place.edit(text);
            let error = place.current().await.unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        place.edit(Ok(GOOD));
        assert!(place.current().await.is_ok());
    }
}
