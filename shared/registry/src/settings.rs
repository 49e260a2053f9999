//! What one registry host needs to be spoken to.

use std::time::Duration;

use accel_domain::Secret;

/// One registry. A host without settings gets no request at all.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// `name` or `name:port`, as references write it.
    pub host: String,
    /// Speak plain HTTP. Never inferred: without it a host is spoken to over TLS or not at all.
    pub plain_http: bool,
    /// Certificates (PEM) trusted for this host in addition to the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// URL of an HTTP proxy. It may hold a password, so it is not printed.
    pub proxy: Option<Secret>,
    /// Hosts (`name` or `name:port`) that may be given this host's login when they are named as its token realm.
    /// The host itself is always one.
    pub token_realms: Vec<String>,
    /// Other names under which references and events know this host.
    pub aliases: Vec<String>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub retries: Retries,
}

impl HostSettings {
    /// `host` over TLS with the system's certificates.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            plain_http: false,
            ca_pem: None,
            proxy: None,
            token_realms: Vec::new(),
            aliases: Vec::new(),
            timeouts: Timeouts::default(),
            retries: Retries::default(),
        }
    }

    /// `host` over plain HTTP: the person who runs this has said so.
    pub fn plain_http(host: impl Into<String>) -> Self {
        Self { plain_http: true, ..Self::new(host) }
    }
}

/// How long to wait. There is no limit on the whole of a transfer: a large layer takes its time.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// From the request to the head of its answer. Closing an upload can take a registry minutes.
    pub answer: Duration,
    /// Between two reads of a body.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(300), idle: Duration::from_secs(60) }
    }
}

/// How a request is tried again in place before its error goes up.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// How many times after the first.
    pub count: u32,
    /// The delay before the first of them; it doubles each time, and is jittered by half.
    pub base: Duration,
    /// The longest delay, and the longest Retry-After that is waited for in place.
    pub longest: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 4, base: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}
