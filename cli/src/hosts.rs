//! Registries as the configuration describes them, in the words of the registry client.

use std::sync::Arc;

use accel_domain::ErrorClass;
use accel_domain::config::{Config, LayerLimits};
use accel_registry::{CredentialError, Credentials, HostSettings, Login, LoginFuture, Registries};
use accel_runtime::{RegistryLogins, Secrets};
use accel_stream::Limits;
use anyhow::Context as _;
use futures::future::BoxFuture;

/// What the configuration says of `host`, which is configured.
pub(crate) async fn settings(config: &Config, host: &str, secrets: &Secrets) -> anyhow::Result<HostSettings> {
    let entry = config.transport(host).with_context(|| format!("registry {host} is not configured"))?;
    let ca_pem = entry.ca_file.as_ref().map(|file| {
        std::fs::read(file).with_context(|| format!("registry {host}: its ca_file {} cannot be read", file.display()))
    });
    let proxy = match &entry.proxy {
        Some(reference) => {
            Some(secrets.current(reference).await.with_context(|| format!("registry {host}: its proxy"))?)
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
pub(crate) async fn registries(config: &Arc<Config>, secrets: &Arc<Secrets>) -> anyhow::Result<Registries> {
    let mut hosts = Vec::new();
    for host in config.hosts() {
        hosts.push(settings(config, host, secrets).await?);
    }
    let logins = ConfiguredLogins::new(Arc::clone(config), Arc::clone(secrets));
    Ok(Registries::new(hosts, Arc::new(logins))?)
}

/// What the configuration allows a layer of `host` to cost.
pub(crate) fn limits(config: &Config, host: &str) -> Limits {
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
pub(crate) struct ConfiguredLogins(RegistryLogins);

impl ConfiguredLogins {
    pub(crate) const fn new(config: Arc<Config>, secrets: Arc<Secrets>) -> Self {
        Self(RegistryLogins::new(config, secrets))
    }
}

impl Credentials for ConfiguredLogins {
    fn login<'a>(&'a self, host: &'a str, repository: &'a str) -> LoginFuture<'a> {
        Box::pin(async move {
            let found = self.0.login(host, repository).await.map_err(|error| {
                let class = error.class();
                let text = format!("{:#}", anyhow::Error::new(error));
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
