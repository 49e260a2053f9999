//! Trying again in place: how often, how long to wait, and what a registry asked for.

use std::time::{Duration, SystemTime};

use crate::{RegistryError, Retries};

/// The tries that are left.
#[derive(Debug)]
pub(crate) struct Backoff {
    settings: Retries,
    used: u32,
}

impl Backoff {
    pub(crate) const fn new(settings: Retries) -> Self {
        Self { settings, used: 0 }
    }

    /// All tries again: there was progress.
    pub(crate) const fn reset(&mut self) {
        self.used = 0;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// `error` itself, if trying again cannot help, if no try is left, or if the registry wants a longer pause.
    pub(crate) async fn wait(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        match pause_in_place(&error) {
            Some(asked) if asked <= self.settings.longest => self.pause_at_least(error, asked).await,
            _ => Err(error),
        }
    }

    /// As [`wait`](Self::wait), for an error that is worth a try whatever it is.
    pub(crate) async fn pause(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.pause_at_least(error, Duration::ZERO).await
    }

    async fn pause_at_least(&mut self, error: RegistryError, asked: Duration) -> Result<(), RegistryError> {
        if self.used >= self.settings.count {
            return Err(error);
        }
        let delay = self.delay().max(asked);
        self.used += 1;
        tracing::warn!(error = %error, delay_ms = delay.as_millis(), "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Doubles each time; between a half and the whole of it, so that clients do not come back together.
    fn delay(&self) -> Duration {
        let full = self.settings.base.saturating_mul(1 << self.used.min(16)).min(self.settings.longest);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// How long to wait at least before trying again within seconds, or `None` where that cannot help.
fn pause_in_place(error: &RegistryError) -> Option<Duration> {
    match error {
        RegistryError::Network { .. } | RegistryError::TimedOut { .. } => Some(Duration::ZERO),
        RegistryError::Refused(refused) if refused.refusal.is_retried_in_place() => {
            Some(refused.retry_after.unwrap_or_default())
        }
        _ => None,
    }
}

/// Reads a Retry-After header: seconds or a date. Spec: RFC 9110, 10.2.3.
pub(crate) fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 19:00:00 GMT").unwrap();
        let rows = [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Mon, 23 Nov 2026 19:00:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 18:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn delays_double_are_jittered_and_bounded() {
        let settings = Retries { count: 9, base: Duration::from_millis(100), longest: Duration::from_secs(1) };
        for (used, full) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            let backoff = Backoff { settings, used };
            for _ in 0..50 {
                let delay = backoff.delay().as_millis();
                assert!((full / 2..=full).contains(&delay), "try {used}: {delay}");
            }
        }
    }
}
