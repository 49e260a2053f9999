//! Scopes, and the tokens that cover them.

use std::time::{Duration, Instant};

use accel_domain::Secret;
use reqwest::header::HeaderValue;
use serde::Deserialize;

/// A token without a lifetime lives this long. Spec: distribution, "Token Authentication".
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// No token is believed to live longer.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What may be done in a repository; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Pull,
    Push,
    Delete,
}

/// One repository and what is to be done in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) repository: String,
    pub(crate) access: Access,
}

impl Scope {
    pub(crate) fn new(repository: &str, access: Access) -> Self {
        Self { repository: repository.to_owned(), access }
    }

    /// The value of a `scope` parameter.
    pub(crate) fn text(&self) -> String {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        format!("repository:{}:{actions}", self.repository)
    }

    fn covers(&self, other: &Self) -> bool {
        self.repository == other.repository && self.access >= other.access
    }
}

/// A header that was granted for some scopes.
pub(crate) struct Grant {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) header: HeaderValue,
    pub(crate) issued: Instant,
    pub(crate) expires: Instant,
}

impl Grant {
    /// A grant from now on; a tenth of its life is kept as a margin for clocks and transfers.
    pub(crate) fn new(scopes: &[Scope], mut header: HeaderValue, life: Duration) -> Self {
        header.set_sensitive(true);
        let issued = Instant::now();
        Self { scopes: scopes.to_vec(), header, issued, expires: issued + life.mul_f64(0.9) }
    }

    /// Whether it still lives and covers all of `scopes`.
    pub(crate) fn covers(&self, scopes: &[Scope]) -> bool {
        Instant::now() < self.expires && scopes.iter().all(|s| self.scopes.iter().any(|own| own.covers(s)))
    }
}

/// A token as a realm answers. It has no `Debug`: it would print the token.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u32>,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl TokenAnswer {
    /// The token: `token` first, then `access_token` (Harbor sends an empty one beside the real).
    pub(crate) fn token(&self) -> Option<&str> {
        [&self.token, &self.access_token].into_iter().flatten().map(String::as_str).find(|token| !token.is_empty())
    }

    /// The identity token that is to be shown the next time, if it is another.
    pub(crate) fn identity(&self) -> Option<Secret> {
        self.refresh_token.as_deref().filter(|token| !token.is_empty()).map(Secret::new)
    }

    pub(crate) fn life(&self) -> Duration {
        let told = self.expires_in.filter(|seconds| *seconds > 0);
        told.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs(seconds.into())).min(LONGEST_LIFE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_narrower_scopes_of_its_repositories() {
        let held = [Scope::new("a", Access::Push), Scope::new("b", Access::Pull)];
        let grant = Grant::new(&held, HeaderValue::from_static("Bearer x"), Duration::from_secs(60));
        let rows = [
            (vec![Scope::new("a", Access::Pull)], true),
            (vec![Scope::new("b", Access::Pull), Scope::new("a", Access::Push)], true),
            (vec![Scope::new("b", Access::Push)], false),
            (vec![Scope::new("a", Access::Delete)], false),
            (vec![Scope::new("c", Access::Pull)], false),
        ];
        for (scopes, expected) in rows {
            assert_eq!(grant.covers(&scopes), expected, "{scopes:?}");
        }
        let expired = Grant::new(&held, HeaderValue::from_static("Bearer x"), Duration::ZERO);
        assert!(!expired.covers(&[]));
    }

    #[test]
    fn reads_tokens_of_every_kind() {
        let rows = [
            (r#"{"token":"a","access_token":"b","expires_in":300}"#, Some("a"), 300),
            (r#"{"token":"a","access_token":"","expires_in":1800}"#, Some("a"), 1800),
            (r#"{"token":"","access_token":"b"}"#, Some("b"), 60),
            (r#"{"access_token":"b","expires_in":0}"#, Some("b"), 60),
            (r#"{"token":null,"expires_in":4294967295}"#, None, 24 * 3600),
        ];
        for (text, token, seconds) in rows {
            let answer: TokenAnswer = serde_json::from_str(text).unwrap();
            assert_eq!((answer.token(), answer.life().as_secs()), (token, seconds), "{text}");
        }
    }
}
