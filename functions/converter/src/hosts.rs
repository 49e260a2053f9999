//! Registries as the configuration describes them, in the words of the registry client.

use std::path::PathBuf;
use std::sync::Arc;

use accel_domain::ErrorClass;
use accel_domain::config::{Config, LayerLimits};
use accel_registry::{CredentialError, Credentials, HostSettings, Login, LoginFuture, Registries, RegistryError};
use accel_runtime::{RegistryLogins, SecretError, Secrets};
use accel_stream::Limits;
use futures::future::BoxFuture;

/// Why there is no client for a registry.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The configuration does not have it.
    #[error("registry {0} is not configured")]
    NotConfigured(String),
    /// Its certificates cannot be read.
    #[error("registry {host}: its ca_file {file} cannot be read")]
    CaFile {
        /// The registry.
        host: String,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The way to it cannot be read.
    #[error("registry {host}: its proxy")]
    Proxy {
        /// The registry.
        host: String,
        /// Why.
        source: SecretError,
    },
    /// The client cannot be made.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// What the configuration says of `host`, which is configured.
///
/// # Errors
/// What the host needs cannot be read.
pub async fn settings(config: &Config, host: &str, secrets: &Secrets) -> Result<HostSettings, HostError> {
    let entry = config.transport(host).ok_or_else(|| HostError::NotConfigured(host.to_owned()))?;
    let ca_pem = entry.ca_file.as_ref().map(|file| {
        std::fs::read(file).map_err(|source| HostError::CaFile { host: host.to_owned(), file: file.clone(), source })
    });
    let proxy = match &entry.proxy {
        Some(reference) => {
            let found = secrets.current(reference).await;
            Some(found.map_err(|source| HostError::Proxy { host: host.to_owned(), source })?)
        }
        None => None,
    };
    Ok(HostSettings {
        plain_http: entry.plain_http,
        ca_pem: ca_pem.transpose()?,
        proxy,
        token_realms: entry.token_realms.clone(),
        aliases: entry.aliases.clone(),
        ..HostSettings::new(host)
    })
}

/// Clients for all configured hosts. Logins are looked up whenever one is needed.
///
/// # Errors
/// What a host needs cannot be read, or is not what it should be.
pub async fn registries(config: &Arc<Config>, secrets: &Arc<Secrets>) -> Result<Registries, HostError> {
    let mut hosts = Vec::new();
    for host in config.hosts() {
        hosts.push(settings(config, host, secrets).await?);
    }
    let logins = ConfiguredLogins::new(Arc::clone(config), Arc::clone(secrets));
    Ok(Registries::new(hosts, Arc::new(logins))?)
}

/// What the configuration allows a layer of `host` to cost.
#[must_use]
pub fn limits(config: &Config, host: &str) -> Limits {
    let LayerLimits { entries, path, pax, layer, ratio, zstd_window } =
        config.transport(host).map(|entry| entry.limits).unwrap_or_default();
    Limits {
        entries,
        path_bytes: path.0,
        pax_bytes: pax.0,
        layer_bytes: layer.0,
        ratio: ratio.into(),
        zstd_window_bytes: zstd_window.0,
    }
}

/// The logins of the configuration.
#[derive(Debug, Clone)]
pub struct ConfiguredLogins(RegistryLogins);

impl ConfiguredLogins {
    /// The logins of `config`, whose secrets `secrets` finds.
    #[must_use]
    pub const fn new(config: Arc<Config>, secrets: Arc<Secrets>) -> Self {
        Self(RegistryLogins::new(config, secrets))
    }
}

impl Credentials for ConfiguredLogins {
    fn login<'a>(&'a self, host: &'a str, repository: &'a str) -> LoginFuture<'a> {
        Box::pin(async move {
            let found = self.0.login(host, repository).await.map_err(|error| {
                let class = error.class();
                let text = chain(&error);
                match class {
                    ErrorClass::Permanent => CredentialError::Unusable(text),
                    ErrorClass::Transient(_) | ErrorClass::Interrupted => CredentialError::Unavailable(text),
                }
            })?;
            Ok(found.map(|login| Login::Password { username: login.username, password: login.password }))
        })
    }

    fn renew<'a>(&'a self, host: &'a str, repository: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.0.renew(host, repository).await.unwrap_or_else(|error| {
                tracing::warn!(
                    registry.host = host,
                    error = &error as &dyn std::error::Error,
                    "a refused login cannot be read anew"
                );
                false
            })
        })
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_that_is_refused_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "old").unwrap();
        let text = format!("registries: {{ h.example: {{ username: u, password: '${{file:{}}}' }} }}", file.display());
        let config = Arc::new(accel_domain::config::parse(&text, "test").unwrap());
        let logins = ConfiguredLogins::new(config, Arc::new(Secrets::default()));
        let password = async || match logins.login("h.example", "p/r").await.unwrap() {
            Some(Login::Password { password, .. }) => password.expose().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(password().await, "old");
        std::fs::write(&file, "new").unwrap();
        assert_eq!(password().await, "old", "it is believed until it is refused");
        assert!(logins.renew("h.example", "p/r").await);
        assert_eq!(password().await, "new");
        std::fs::remove_file(&file).unwrap();
        assert!(!logins.renew("other.example", "p/r").await);
    }
}
