//! What programs ask a configuration.

use std::sync::LazyLock;

use accel_image::Reference;

use super::fault::join;
use super::patterns::overlap;
use super::{Config, Convert, Registry, RegistryKey, Rule};
use crate::secret::SecretRef;
use crate::target::Sources;
use crate::task::RetryPolicy;

/// Other names of Docker Hub, which references and logins use.
const DOCKER_HUB: (&str, [&str; 3]) =
    ("docker.io", ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/// An accepted value of the `Authorization` header, and what it speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSecret<'a> {
    /// The path of its key in the file.
    pub key: String,
    /// The value.
    pub value: &'a SecretRef,
    /// The configured host.
    pub host: &'a str,
    /// The projects of that host; empty means all.
    pub projects: Vec<&'a str>,
}

/// A configuration without rules, where they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the configuration has no rules, so nothing would be converted: add\nrules:\n  - match: {{ repository: \
     \"library/*\" }}\n    convert: [{{ format: estargz }}]"
)]
pub struct NoRules;

impl Config {
    /// The configured hosts, each once.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.registries.keys().map(|key| key.host.as_str()).filter(move |host| last.replace(*host) != Some(*host))
    }

    /// The configured name of the host that is known as `name`: itself, or the host it is an alias of.
    #[must_use]
    pub fn host_of(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        let (hub, others) = DOCKER_HUB;
        let is_alias = |key: &RegistryKey, registry: &Registry| {
            registry.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(&name))
                || (key.host == hub && others.contains(&name.as_str()))
        };
        let own = self.registries.keys().find(|key| key.host == name);
        let found =
            own.or_else(|| self.registries.iter().find(|(key, entry)| is_alias(key, entry)).map(|(key, _)| key));
        found.map(|key| key.host.as_str())
    }

    /// The entry of a host, for all that belongs to the host: TLS, proxy, limits. `None` if it is not configured;
    /// the defaults if only projects of it are.
    #[must_use]
    pub fn transport(&self, host: &str) -> Option<&Registry> {
        static DEFAULT: LazyLock<Registry> = LazyLock::new(Registry::default);
        let of_host = || self.registries.iter().filter(|(key, _)| key.host == host);
        match of_host().find(|(key, _)| key.project.is_none()) {
            Some((_, registry)) => Some(registry),
            None => of_host().next().map(|_| &*DEFAULT),
        }
    }

    /// The entries for a repository of a configured host: that of its project first, then that of the host.
    pub fn registries_for(&self, host: &str, repository: &str) -> impl Iterator<Item = (&RegistryKey, &Registry)> {
        let project = repository.split('/').next().unwrap_or_default().to_owned();
        let keys = [Some(project), None].map(|project| RegistryKey { host: host.to_owned(), project });
        keys.into_iter().filter_map(|key| self.registries.get_key_value(&key))
    }

    /// User and password for a repository, from the longest key that has them.
    #[must_use]
    pub fn login_for(&self, host: &str, repository: &str) -> Option<(&str, &SecretRef)> {
        self.registries_for(host, repository)
            .find_map(|(_, registry)| Some((registry.username.as_deref()?, registry.password.as_ref()?)))
    }

    /// The name under which events of a repository report what Accel itself has pushed.
    #[must_use]
    pub fn operator_for(&self, host: &str, repository: &str) -> Option<&str> {
        self.registries_for(host, repository)
            .find_map(|(_, registry)| registry.operator.as_deref().or(registry.username.as_deref()))
    }

    /// Every accepted value of the `Authorization` header but `server.admin_auth`.
    #[must_use]
    pub fn webhook_secrets(&self) -> Vec<WebhookSecret<'_>> {
        let mut secrets = Vec::new();
        for (key, registry) in &self.registries {
            for (at, auth) in registry.webhook_auth.iter().enumerate() {
                let projects = key.project.iter().chain(&auth.projects).map(String::as_str).collect();
                let path = format!("{}.webhook_auth[{at}].value", join("registries", &key.to_string()));
                secrets.push(WebhookSecret { key: path, value: &auth.value, host: &key.host, projects });
            }
        }
        secrets
    }

    /// The rules for an image of a configured host, each with its number.
    pub fn rules_for(&self, source: &Reference) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules.iter().enumerate().filter(|(_, rule)| rule.matches.covers(source))
    }

    /// The rules that can be for images of `project`, the first component of their repositories, of a configured host.
    pub fn rules_of_project(&self, host: &str, project: &str) -> impl Iterator<Item = &Rule> {
        let repositories = format!("{project}/*");
        self.rules.iter().filter(move |rule| {
            let fits = |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|p| overlap(p, text));
            fits(&rule.matches.host, host) && fits(&rule.matches.repository, &repositories)
        })
    }

    /// The entries of rules whose targets may be in `project` of a configured host, wherever their sources are.
    pub fn entries_into(&self, host: &str, project: &str) -> impl Iterator<Item = &Convert> {
        let leads_there = move |rule: &Rule, entry: &Convert| {
            let fits = |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|p| overlap(p, text));
            let to_host = match entry.target.fixed_host() {
                Some(fixed) => self.host_of(fixed) == Some(host),
                None => fits(&rule.matches.host, host),
            };
            let of = &rule.matches.repository;
            to_host
                && match entry.target.sources_of(project) {
                    None => false,
                    Some(Sources::Any) => true,
                    Some(Sources::Project(source)) => fits(of, &source) || fits(of, &format!("{source}/*")),
                }
        };
        self.rules.iter().flat_map(move |rule| rule.convert.iter().filter(move |entry| leads_there(rule, entry)))
    }

    /// The value of the `Authorization` header for events of `project` of a configured host: one of its own before
    /// one of the whole host.
    #[must_use]
    pub fn webhook_secret_for(&self, host: &str, project: &str) -> Option<&SecretRef> {
        let mut secrets = self.webhook_secrets();
        secrets.retain(|s| s.host == host && (s.projects.is_empty() || s.projects.contains(&project)));
        secrets.iter().min_by_key(|secret| secret.projects.is_empty()).map(|secret| secret.value)
    }

    /// The rules, where there have to be some.
    ///
    /// # Errors
    /// There are none.
    pub const fn required_rules(&self) -> Result<&[Rule], NoRules> {
        if self.rules.is_empty() { Err(NoRules) } else { Ok(self.rules.as_slice()) }
    }

    /// How tasks are tried and kept.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy { attempts: self.tasks.attempts, retention: self.tasks.retention.0, ..RetryPolicy::default() }
    }

    /// The keys under which a secret itself stands instead of a reference: refused in AWS, warned of elsewhere.
    #[must_use]
    pub fn literal_secrets(&self) -> Vec<String> {
        let admin = self.server.admin_auth.iter().map(|value| ("server.admin_auth".to_owned(), value));
        let passwords = self.registries.iter().filter_map(|(key, registry)| {
            let path = join(&join("registries", &key.to_string()), "password");
            registry.password.as_ref().map(|value| (path, value))
        });
        let webhooks = self.webhook_secrets().into_iter().map(|secret| (secret.key, secret.value));
        let all = admin.chain(passwords).chain(webhooks);
        all.filter(|(_, value)| value.is_literal()).map(|(path, _)| path).collect()
    }

    /// What is allowed and may still not be meant, in sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let guarded: Vec<&str> = self.webhook_secrets().iter().map(|secret| secret.host).collect();
        let open = self.hosts().filter(|host| !guarded.contains(host)).map(|host| {
            format!(
                "{}: no `webhook_auth`, so events for this registry are accepted from everybody who can reach Accel",
                join("registries", host)
            )
        });
        let literal = self.literal_secrets().into_iter().map(|key| {
            format!("{key}: the secret stands in the file itself; a reference like ${{env:VARIABLE}} keeps it out")
        });
        open.chain(literal).collect()
    }
}
