//! The configured logins of registries, resolved when they are needed. The programs adapt this to their client.

use std::sync::Arc;

use accel_domain::config::Config;
use accel_domain::secret::Secret;

use crate::{SecretError, Secrets};

/// A user and a password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

/// Finds the login for a repository.
#[derive(Debug, Clone)]
pub struct RegistryLogins {
    config: Arc<Config>,
    secrets: Arc<Secrets>,
}

impl RegistryLogins {
    /// The logins of `config`.
    #[must_use]
    pub const fn new(config: Arc<Config>, secrets: Arc<Secrets>) -> Self {
        Self { config, secrets }
    }

    /// The login for `repository` on the configured `host`; `None` is anonymous.
    ///
    /// # Errors
    /// The password cannot be read.
    pub async fn login(&self, host: &str, repository: &str) -> Result<Option<Login>, SecretError> {
        let Some((username, password)) = self.config.login_for(host, repository) else { return Ok(None) };
        let password = self.secrets.current(password).await?;
        Ok(Some(Login { username: username.to_owned(), password }))
    }

    /// Reads the password anew, because the registry has refused it. Returns whether it was another one shortly before:
    /// of several who find the old one refused, only the first reads the new one.
    ///
    /// # Errors
    /// The password cannot be read.
    pub async fn renew(&self, host: &str, repository: &str) -> Result<bool, SecretError> {
        let Some((_, password)) = self.config.login_for(host, repository) else { return Ok(false) };
        self.secrets.refetch(password).await?;
        Ok(self.secrets.values(password).await?.previous.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::by_hand::HandClock;

    #[tokio::test]
    async fn the_longest_key_with_a_login_wins() {
        let text = "
registries:
  h.example: { username: u, password: '${env:HOST}' }
  h.example/p: { username: v, password: '${env:PROJECT}' }
  h.example/q: { webhook_auth: [{ value: x }] }
  m.example: {}
";
        let config = Arc::new(accel_domain::config::parse(text, "test").unwrap());
        let secrets = Secrets::with_environment(HandClock::new().clock(), |name| Some(format!("of {name}")));
        let logins = RegistryLogins::new(config, Arc::new(secrets));
        let rows = [
            ("h.example", "a/b", Some(("u", "of HOST"))),
            ("h.example", "p/b", Some(("v", "of PROJECT"))),
            ("h.example", "q/b", Some(("u", "of HOST"))),
            ("m.example", "p/b", None),
            ("x.example", "p/b", None),
        ];
        for (host, repository, expected) in rows {
            let login = logins.login(host, repository).await.unwrap();
            let shown = login.as_ref().map(|login| (login.username.as_str(), login.password.expose()));
            assert_eq!(shown, expected, "{host}/{repository}");
            assert!(!format!("{login:?} {logins:?}").contains("of "), "{login:?}");
        }
        assert!(!logins.renew("m.example", "p/b").await.unwrap());
    }

    #[tokio::test]
    async fn a_password_that_was_replaced_is_found_by_all_who_were_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "old").unwrap();
        let text = format!("registries: {{ h.example: {{ username: u, password: '${{file:{}}}' }} }}", path.display());
        let config = Arc::new(accel_domain::config::parse(&text, "test").unwrap());
        let time = HandClock::new();
        let logins = RegistryLogins::new(config, Arc::new(Secrets::new(time.clock())));
        let password = async || logins.login("h.example", "a/b").await.unwrap().unwrap().password.expose().to_owned();
        assert_eq!(password().await, "old");
        assert!(!logins.renew("h.example", "a/b").await.unwrap(), "it is the same");
        std::fs::write(&path, "new").unwrap();
        assert_eq!(password().await, "old", "it is believed for a while");
        time.pass(10);
        for _ in 0..2 {
            assert!(logins.renew("h.example", "a/b").await.unwrap());
            assert_eq!(password().await, "new");
        }
    }
}
