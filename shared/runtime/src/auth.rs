//! Who may do what over HTTP: the `Authorization` header against all configured values.
//!
//! The header is compared with every value, always all of them, by SHA-256 and in constant time. A header that fits
//! nothing makes the values be read anew (at a limited rate), because one may have been rotated.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use accel_domain::Timestamp;
use accel_domain::config::Config;
use accel_domain::secret::{Secret, SecretRef};
use accel_image::Digest;
use subtle::{Choice, ConstantTimeEq as _};

use crate::secrets::Values;
use crate::{Clock, SecretError, Secrets};

/// Wrong headers in a row before they are turned away.
const BURST: f64 = 20.0;
/// Wrong headers a second, lastingly.
const RATE: f64 = 1.0;

/// What a header's value speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The configured host.
    pub host: String,
    /// Its projects; empty means all.
    pub projects: Vec<String>,
}

impl Scope {
    fn covers(&self, host: &str, repository: &str) -> bool {
        let project = repository.split('/').next().unwrap_or_default();
        self.host == host && (self.projects.is_empty() || self.projects.iter().any(|own| own == project))
    }
}

/// Why a header could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Too many wrong headers: 429.
    #[error("too many requests with a wrong Authorization header")]
    TooMany,
    /// The header fits nothing that could be read, and not everything could: 500.
    #[error("the configured Authorization value {key} could not be read")]
    Secret {
        /// The path of its key in the configuration.
        key: String,
        /// Why.
        source: SecretError,
    },
}

/// What a request may do.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Its header is `server.admin_auth`.
    pub admin: bool,
    /// What the entries of `webhook_auth` that fit its header speak for.
    pub scopes: Vec<Scope>,
    /// Whether nothing at all is configured to compare a header with: everything is allowed.
    pub open: bool,
    guarded: Arc<BTreeSet<String>>,
}

impl Granted {
    /// Whether the header fits some configured value.
    #[must_use]
    pub fn is_recognised(&self) -> bool {
        self.admin || !self.scopes.is_empty()
    }

    /// Whether the request may report an event of `repository` on the configured `host`. Registries without any
    /// `webhook_auth` accept events from everybody.
    #[must_use]
    pub fn covers(&self, host: &str, repository: &str) -> bool {
        !self.guarded.contains(host) || self.shows(host, repository)
    }

    /// Whether the request may see, retry and cancel tasks whose source is in `repository`. Once any value is
    /// configured, nothing is shown without one.
    #[must_use]
    pub fn shows(&self, host: &str, repository: &str) -> bool {
        self.open || self.admin || self.scopes.iter().any(|scope| scope.covers(host, repository))
    }
}

struct Entry {
    key: String,
    value: SecretRef,
    /// `None` is `server.admin_auth`.
    scope: Option<Scope>,
}

/// Compares headers with the configured values.
pub struct Gate {
    entries: Vec<Entry>,
    guarded: Arc<BTreeSet<String>>,
    secrets: Arc<Secrets>,
    clock: Clock,
    failures: Mutex<Bucket>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

impl Gate {
    /// The gate that `config` describes.
    #[must_use]
    pub fn new(config: &Config, secrets: Arc<Secrets>, clock: Clock) -> Self {
        let admin = config.server.admin_auth.iter().map(|value| Entry {
            key: "server.admin_auth".to_owned(),
            value: value.clone(),
            scope: None,
        });
        let of_registries = config.webhook_secrets().into_iter().map(|secret| Entry {
            key: secret.key,
            value: secret.value.clone(),
            scope: Some(Scope {
                host: secret.host.to_owned(),
                projects: secret.projects.into_iter().map(str::to_owned).collect(),
            }),
        });
        let entries: Vec<Entry> = admin.chain(of_registries).collect();
        let guarded = entries.iter().filter_map(|entry| Some(entry.scope.as_ref()?.host.clone())).collect();
        let failures = Mutex::new(Bucket { left: BURST, at: clock.now() });
        Self { entries, guarded: Arc::new(guarded), secrets, clock, failures }
    }

    /// What a request with this `Authorization` header may do. One without a header may do what is open.
    ///
    /// # Errors
    /// See [`GateError`]. A header that fits nothing is no error: it grants nothing.
    pub async fn matching(&self, header: Option<&[u8]>) -> Result<Granted, GateError> {
        let mut granted = Granted {
            admin: false,
            scopes: Vec::new(),
            open: self.entries.is_empty(),
            guarded: Arc::clone(&self.guarded),
        };
        let Some(header) = header.filter(|_| !granted.open) else { return Ok(granted) };
        let given = Digest::of(header);
        let mut problem = self.compare(&given, &mut granted).await;
        if !granted.is_recognised() {
            if !self.may_fail() {
                return Err(GateError::TooMany);
            }
            if self.read_anew().await {
                problem = self.compare(&given, &mut granted).await;
            }
        }
        match problem {
            Some(error) if !granted.is_recognised() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "a configured Authorization value is left out");
                Ok(granted)
            }
            None => Ok(granted),
        }
    }

    /// Adds what fits to `granted`; returns the last value that could not be read.
    async fn compare(&self, given: &Digest, granted: &mut Granted) -> Option<GateError> {
        let mut problem = None;
        for entry in &self.entries {
            match self.secrets.values(&entry.value).await {
                Ok(values) if bool::from(fits(given, &values)) => match &entry.scope {
                    Some(scope) => granted.scopes.push(scope.clone()),
                    None => granted.admin = true,
                },
                Ok(_) => {}
                Err(source) => problem = Some(GateError::Secret { key: entry.key.clone(), source }),
            }
        }
        problem
    }

    /// Reads the values anew; returns whether one has changed. One that cannot be read is reported by `compare`.
    async fn read_anew(&self) -> bool {
        let mut changed = false;
        for entry in &self.entries {
            changed |= self.secrets.refetch(&entry.value).await.unwrap_or(false);
        }
        changed
    }

    fn may_fail(&self) -> bool {
        let now = self.clock.now();
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

fn fits(given: &Digest, values: &Values) -> Choice {
    let same = |value: &Secret| given.as_bytes().ct_eq(Digest::of(value.expose().as_bytes()).as_bytes());
    same(&values.current) | values.previous.as_ref().map_or(Choice::from(0), same)
}

/// A token bucket.
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Bucket {
    fn take(&mut self, now: Timestamp) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.left = passed.mul_add(RATE, self.left).min(BURST);
        self.at = now;
        let enough = self.left >= 1.0;
        self.left -= if enough { 1.0 } else { 0.0 };
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::by_hand::HandClock;

    const GUARDED: &str = "
server: { admin_auth: admin }
registries:
  h.example:
    webhook_auth: [{ value: all }, { value: some, projects: [a, b] }, { value: \"${env:ROTATED}\" }]
  h.example/c:
    webhook_auth: [{ value: only-c }]
  open.example: {}
";

    fn gate(text: &str, time: &HandClock) -> Gate {
        let config = accel_domain::config::parse(text, "test").unwrap();
        let secrets = Secrets::with_environment(time.clock(), |_| Some("rotated".to_owned()));
        Gate::new(&config, Arc::new(secrets), time.clock())
    }

    #[tokio::test]
    async fn a_header_covers_what_its_values_speak_for() {
        let gate = gate(GUARDED, &HandClock::new());
        // header; event of h.example/a, /c, open.example; tasks of h.example/a, /c, open.example
        let rows = [
            (None, [false, false, true], [false, false, false]),
            (Some("wrong"), [false, false, true], [false, false, false]),
            (Some(""), [false, false, true], [false, false, false]),
            (Some("admin"), [true, true, true], [true, true, true]),
            (Some("all"), [true, true, true], [true, true, false]),
            (Some("some"), [true, false, true], [true, false, false]),
            (Some("only-c"), [false, true, true], [false, true, false]),
            (Some("rotated"), [true, true, true], [true, true, false]),
        ];
        for (header, events, tasks) in rows {
            let granted = gate.matching(header.map(str::as_bytes)).await.unwrap();
            let places = [("h.example", "a/x"), ("h.example", "c/x"), ("open.example", "a/x")];
            assert_eq!(places.map(|(host, repository)| granted.covers(host, repository)), events, "{header:?}");
            assert_eq!(places.map(|(host, repository)| granted.shows(host, repository)), tasks, "{header:?}");
            assert_eq!(granted.is_recognised(), tasks.contains(&true), "{header:?}");
        }
    }

    #[tokio::test]
    async fn everything_is_open_where_nothing_is_configured() {
        let gate = gate("registries: { h.example: {} }", &HandClock::new());
        for header in [None, Some("anything".as_bytes())] {
            let granted = gate.matching(header).await.unwrap();
            assert!(granted.open && granted.covers("h.example", "a/b") && granted.shows("h.example", "a/b"));
        }
    }

    #[tokio::test]
    async fn wrong_headers_are_turned_away_and_right_ones_are_not() {
        let time = HandClock::new();
        let gate = gate(GUARDED, &time);
        for _ in 0..20 {
            assert!(!gate.matching(Some(b"wrong")).await.unwrap().is_recognised());
        }
        assert!(matches!(gate.matching(Some(b"wrong")).await, Err(GateError::TooMany)));
        assert!(gate.matching(Some(b"all")).await.unwrap().is_recognised());
        assert!(gate.matching(None).await.is_ok());
        time.pass(1);
        assert!(gate.matching(Some(b"wrong")).await.is_ok());
        assert!(gate.matching(Some(b"wrong")).await.is_err());
    }

    #[tokio::test]
    async fn a_rotated_value_is_found_at_once_and_the_old_one_still_fits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook");
        std::fs::write(&path, "old").unwrap();
        let text =
            format!("registries: {{ h.example: {{ webhook_auth: [{{ value: '${{file:{}}}' }}] }} }}", path.display());
        let time = HandClock::new();
        let gate = gate(&text, &time);
        assert!(gate.matching(Some(b"old")).await.unwrap().is_recognised());
        std::fs::write(&path, "new").unwrap();
        for header in ["new", "old"] {
            assert!(gate.matching(Some(header.as_bytes())).await.unwrap().is_recognised(), "{header}");
        }
        time.pass(900);
        assert!(!gate.matching(Some(b"old")).await.unwrap().is_recognised());
    }

    #[tokio::test]
    async fn a_value_that_cannot_be_read_stops_only_those_who_need_it() {
        let text = "registries: { h.example: { webhook_auth: [{ value: good }, { value: '${file:/no/such}' }] } }";
        let gate = gate(text, &HandClock::new());
        assert!(gate.matching(Some(b"good")).await.unwrap().is_recognised());
        let error = gate.matching(Some(b"hunter2")).await.unwrap_err();
        let shown = format!("{error} {error:?} {gate:?}");
        assert!(shown.contains("webhook_auth[1].value") && !shown.contains("hunter2"), "{shown}");
    }
}
