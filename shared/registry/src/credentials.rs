//! Who we are to a registry: logins, and where they come from. No secret is ever printed.

use std::collections::BTreeMap;

use accel_domain::Secret;
use futures::future::BoxFuture;

/// What shows a registry who we are. `Debug` prints no secret.
#[derive(Debug, Clone)]
pub enum Login {
    /// A name and its password.
    Password {
        /// The user or the robot account.
        username: String,
        /// Its password or secret.
        password: Secret,
    },
    /// docker's identity token, which the registry's token realm exchanges for tokens: an OAuth2 refresh token.
    Identity(Secret),
    /// docker's registry token, which the registry takes as it is.
    Token(Secret),
}

impl Login {
    /// A name and its password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Password { username: username.into(), password: Secret::new(password) }
    }
}

/// Why a login could not be looked up. The text holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The place it comes from does not answer at the moment (Transient).
    #[error("{0}")]
    Unavailable(String),
    /// It is not there, or cannot be read (Permanent).
    #[error("{0}")]
    Unusable(String),
}

/// The answer of [`Credentials::login`].
pub type LoginFuture<'a> = BoxFuture<'a, Result<Option<Login>, CredentialError>>;

/// Where logins come from. Asked whenever a token is fetched, so a rotated password is seen.
pub trait Credentials: Send + Sync {
    /// The login for `repository` at `host` (as its settings name it), or `None` to go without.
    fn login<'a>(&'a self, host: &'a str, repository: &'a str) -> LoginFuture<'a>;

    /// Looks anew where the login comes from, because `host` has refused it. Whether asking again makes sense: there
    /// may be another one now.
    fn renew<'a>(&'a self, _host: &'a str, _repository: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}

/// Everything is asked for without a login.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn login<'a>(&'a self, _host: &'a str, _repository: &'a str) -> LoginFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// Logins by `host` or `host/project`: the longest key that covers a repository wins.
#[derive(Debug, Clone, Default)]
pub struct StaticCredentials {
    logins: BTreeMap<String, Login>,
}

impl StaticCredentials {
    /// These logins and no others.
    pub fn new(logins: impl IntoIterator<Item = (String, Login)>) -> Self {
        Self { logins: logins.into_iter().collect() }
    }

    fn find(&self, host: &str, repository: &str) -> Option<&Login> {
        let full = format!("{host}/{repository}");
        let ends = full.match_indices('/').map(|(at, _)| at).chain([full.len()]);
        let mut keys: Vec<usize> = ends.collect();
        keys.reverse();
        keys.into_iter().find_map(|end| self.logins.get(&full[..end]))
    }
}

impl Credentials for StaticCredentials {
    fn login<'a>(&'a self, host: &'a str, repository: &'a str) -> LoginFuture<'a> {
        Box::pin(std::future::ready(Ok(self.find(host, repository).cloned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_key_wins() {
        let login = |name: &str| Login::password(name, "pw");
        let known = StaticCredentials::new([
            ("h.example:5000".to_owned(), login("host")),
            ("h.example:5000/team".to_owned(), login("team")),
            ("other.example/p".to_owned(), login("other")),
        ]);
        let rows = [
            ("h.example:5000", "app", Some("host")),
            ("h.example:5000", "team/app", Some("team")),
            ("h.example:5000", "team2/app", Some("host")),
            ("h.example", "team/app", None),
            ("other.example", "p/x/y", Some("other")),
            ("other.example", "q", None),
        ];
        for (host, repository, expected) in rows {
            let found = known.find(host, repository).map(|login| format!("{login:?}"));
            assert_eq!(found, expected.map(|name| format!("{:?}", login(name))), "{host}/{repository}");
        }
    }

    #[test]
    fn debug_prints_no_secret() {
        let secret = || Secret::new("hunter2");
        let logins = [Login::password("robot$a", "hunter2"), Login::Identity(secret()), Login::Token(secret())];
        let known = StaticCredentials::new(logins.map(|login| (format!("{login:?}"), login)));
        let printed = format!("{known:?}");
        assert!(printed.contains("robot$a") && !printed.contains("hunter2"), "{printed}");
    }
}
