//! The section `registries`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use accel_image::Reference;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::ByteSize;
use crate::secret::SecretRef;

/// A registry, or one project of it. Under a key `host/project` only `username`, `password`, `operator` and
/// `webhook_auth` may stand: everything else belongs to the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// The user to log in as. Without one, Accel is anonymous there.
    #[schemars(example = "robot$accel")]
    pub username: Option<String>,
    /// The user's password or token.
    #[schemars(example = "${env:HARBOR_SECRET}")]
    pub password: Option<SecretRef>,
    /// The name under which the registry's events report what Accel itself has pushed. By default `username`.
    #[schemars(example = "robot$accel")]
    pub operator: Option<String>,
    /// Accepted values of the `Authorization` header of this registry's events. Without any, events are accepted
    /// from everybody who can reach Accel.
    pub webhook_auth: Vec<WebhookAuth>,
    /// Other names that events use for this host: an internal name, a name with a port.
    #[schemars(extend("examples" = [["harbor-core", "harbor.internal:8443"]]))]
    pub aliases: Vec<String>,
    /// PEM file with the certificates of the authorities that this registry is trusted by, beside the system's.
    #[schemars(example = "/etc/accel/ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// Speaks HTTP without TLS to this registry. Never done unless it stands here.
    pub plain_http: bool,
    /// Sends the login over plain HTTP although the registry is not on loopback.
    pub allow_plain_credentials: bool,
    /// HTTP proxy to reach this registry through; a reference if it holds a password.
    #[schemars(example = "http://proxy.example.com:3128")]
    pub proxy: Option<SecretRef>,
    /// Hosts beside the registry's own that may be given the login in exchange for a token.
    #[schemars(extend("examples" = [["auth.example.com"]]))]
    pub token_realms: Vec<String>,
    /// What is too large to be an honest image. Each limit is an error by its name.
    pub limits: LayerLimits,
}

/// An accepted value of the `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookAuth {
    /// The whole value of the header, as the registry sends it.
    #[schemars(example = "${env:WEBHOOK_AUTH}")]
    pub value: SecretRef,
    /// The projects it speaks for. By default all of the registry.
    #[serde(default)]
    #[schemars(extend("examples" = [["library"]]))]
    pub projects: Vec<String>,
}

/// What is too large to be an honest image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LayerLimits {
    /// Entries of a layer.
    pub entries: u64,
    /// Length of a path.
    pub path: ByteSize,
    /// Size of an entry's PAX records.
    pub pax: ByteSize,
    /// Uncompressed size of a layer.
    pub layer: ByteSize,
    /// Uncompressed size of a layer, divided by its compressed size.
    pub ratio: u32,
    /// Window of a zstd layer: memory that reading it takes.
    pub zstd_window: ByteSize,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            path: ByteSize(4096),
            pax: ByteSize(1 << 20),
            layer: ByteSize(64 << 30),
            ratio: 1000,
            zstd_window: ByteSize(128 << 20),
        }
    }
}

/// A key of `registries`: a host, or one project of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryKey {
    /// The host, with its port if it has one, in lower case.
    pub host: String,
    /// The project; `None` is the whole registry.
    pub project: Option<String>,
}

/// Why a text is no key of `registries`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryKeyError {
    /// An address with a scheme.
    #[error("`{0}` has a scheme: write the host alone, and `plain_http: true` for HTTP without TLS")]
    Scheme(String),
    /// More than one component after the host.
    #[error("`{0}` is longer than host/project: a project is the first component of a repository")]
    Deep(String),
    /// Not a host.
    #[error("`{0}` is not a registry's host: it needs a dot or a port in it, or to be localhost, in lower case")]
    Host(String),
    /// Not a project.
    #[error("`{0}` does not name a project as repositories do: lower case letters, digits and . _ -")]
    Project(String),
}

impl FromStr for RegistryKey {
    type Err = RegistryKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(80).collect::<String>().escape_debug().to_string();
        if text.contains("://") {
            return Err(RegistryKeyError::Scheme(shown()));
        }
        let (host, project) = text.split_once('/').map_or((text, None), |(host, project)| (host, Some(project)));
        if project.is_some_and(|project| project.contains('/')) {
            return Err(RegistryKeyError::Deep(shown()));
        }
        if !is_host(host) {
            return Err(RegistryKeyError::Host(shown()));
        }
        if project.is_some_and(|project| !is_project(project)) {
            return Err(RegistryKeyError::Project(shown()));
        }
        Ok(Self { host: host.to_owned(), project: project.map(str::to_owned) })
    }
}

impl fmt::Display for RegistryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.project.iter().try_for_each(|project| write!(f, "/{project}"))
    }
}

impl Serialize for RegistryKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether image references can name `text` as their host.
pub(super) fn is_host(text: &str) -> bool {
    let lower = !text.contains(|c: char| c.is_ascii_uppercase());
    lower && Reference::new(text, "project/name", Some("tag"), None).is_ok()
}

/// Whether repositories can begin with `text`.
pub(super) fn is_project(text: &str) -> bool {
    !text.contains('/') && Reference::new("host.example", &format!("{text}/name"), Some("tag"), None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hosts_or_projects_of_hosts() {
        for text in ["harbor.example.com", "localhost", "localhost:5000", "10.0.0.1:80/library", "docker.io/library"] {
            assert_eq!(text.parse::<RegistryKey>().unwrap().to_string(), text);
        }
        let rows = [
            ("https://h.example", "scheme"),
            ("h.example/a/b", "longer"),
            ("harbor", "not a registry's host"),
            ("H.example", "lower case"),
            ("", "not a registry's host"),
            ("h.example/", "project"),
            ("h.example/UP", "project"),
            ("u:p@h.example", "not a registry's host"),
        ];
        for (text, expected) in rows {
            let error = text.parse::<RegistryKey>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
