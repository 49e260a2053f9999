//! Tokens and what each of them opens.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::Method;
use uuid::Uuid;

use crate::content::lock;
use crate::registry::Query;
use crate::target::Target;

/// One resource and what may be done with it: `repository:name:pull,push`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    resource: String,
    actions: BTreeSet<String>,
}

impl Scope {
    fn new(resource: &str, actions: &str) -> Self {
        Self { resource: resource.to_owned(), actions: actions.split(',').map(str::to_owned).collect() }
    }

    /// Resource names contain colons, so the actions are what follows the last one.
    fn parse(text: &str) -> Option<Self> {
        text.rsplit_once(':').map(|(resource, actions)| Self::new(resource, actions))
    }

    /// What a request has to be allowed to do.
    pub(crate) fn needed(method: &Method, target: &Target, query: &Query) -> Vec<Self> {
        let Some(repository) = target.repository() else {
            return match target {
                Target::Catalog => vec![Self::new("registry:catalog", "*")],
                _ => Vec::new(),
            };
        };
        let actions = match (method, target) {
            (&Method::GET | &Method::HEAD, _) => "pull",
            (&Method::DELETE, Target::Blob { .. } | Target::Manifest { .. }) => "delete",
            _ => "pull,push",
        };
        let mut needed = vec![Self::new(&format!("repository:{repository}"), actions)];
        if let (Target::Uploads { .. }, Some(from)) = (target, query.get("from")) {
            needed.push(Self::new(&format!("repository:{from}"), "pull"));
        }
        needed
    }

    fn covers(&self, needed: &Self) -> bool {
        self.resource == needed.resource && (self.actions.contains("*") || self.actions.is_superset(&needed.actions))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        write!(f, "{}:{}", self.resource, actions.join(","))
    }
}

/// The tokens that were issued.
#[derive(Default)]
pub(crate) struct Grants {
    tokens: Mutex<HashMap<String, Grant>>,
}

struct Grant {
    scopes: Vec<Scope>,
    expires: Instant,
}

impl Grants {
    /// A new token for `scopes`, which are as the client wrote them; what is no scope opens nothing.
    pub(crate) fn issue(&self, scopes: &[&str], ttl: Duration) -> String {
        let now = Instant::now();
        let token = Self::worthless();
        let scopes = scopes.iter().filter_map(|text| Scope::parse(text)).collect();
        let mut tokens = lock(&self.tokens);
        tokens.retain(|_, grant| grant.expires > now);
        tokens.insert(token.clone(), Grant { scopes, expires: now + ttl });
        token
    }

    /// A token that nobody remembers.
    pub(crate) fn worthless() -> String {
        Uuid::new_v4().simple().to_string()
    }

    /// Whether `token` opens all of `needed`, and whether it is a token at all.
    pub(crate) fn covers(&self, token: &str, needed: &[Scope]) -> (bool, bool) {
        let tokens = lock(&self.tokens);
        match tokens.get(token).filter(|grant| grant.expires > Instant::now()) {
            Some(grant) => (needed.iter().all(|scope| grant.scopes.iter().any(|granted| granted.covers(scope))), true),
            None => (false, false),
        }
    }

    pub(crate) fn clear(&self) {
        lock(&self.tokens).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_token_opens_what_it_was_issued_for() {
        let grants = Grants::default();
        let token = grants.issue(&["repository:a/b:pull,push", "nonsense"], HOUR);
        let needed = |resource, actions| [Scope::new(resource, actions)];
        let rows = [
            (needed("repository:a/b", "pull"), true),
            (needed("repository:a/b", "push,pull"), true),
            (needed("repository:a/b", "delete"), false),
            (needed("repository:a", "pull"), false),
            (needed("registry:catalog", "*"), false),
        ];
        for (needed, expected) in rows {
            assert_eq!(grants.covers(&token, &needed), (expected, true), "{needed:?}");
        }
        assert_eq!(grants.covers("other", &[]), (false, false));
        grants.clear();
        assert_eq!(grants.covers(&token, &[]), (false, false));
    }

    #[test]
    fn a_token_expires() {
        let grants = Grants::default();
        let token = grants.issue(&["repository:a:pull"], Duration::ZERO);
        assert_eq!(grants.covers(&token, &[]), (false, false));
    }
}
