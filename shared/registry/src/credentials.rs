//! Who we are to a registry: logins, and where they come from. No secret is ever printed.

use std::collections::BTreeMap;
use std::fmt;

use futures::future::BoxFuture;

/// A text that is never printed: passwords, tokens, URLs that hold them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. It goes into a request and nowhere else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A name and its password. `Debug` prints the name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user or the robot account.
    pub username: String,
    /// Its password or secret.
    pub password: Secret,
}

impl Login {
    /// A login from its two parts.
    pub fn new(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { username: username.into(), password: password.into() }
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
        let login = |name: &str| Login::new(name, "pw");
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
            let found = known.find(host, repository).map(|login| login.username.as_str());
            assert_eq!(found, expected, "{host}/{repository}");
        }
    }

    #[test]
    fn debug_prints_no_password() {
        let known = StaticCredentials::new([("h.example".to_owned(), Login::new("robot$a", "hunter2"))]);
        let printed = format!("{known:?}");
        assert!(printed.contains("robot$a") && !printed.contains("hunter2"), "{printed}");
    }
}
