//! What must hold for each registry and between them.

use std::collections::HashMap;

use crate::ByteSize;
use crate::config::fault::{Faults, join};
use crate::config::registry::{is_host, is_project};
use crate::config::{Config, LayerLimits, Registry, RegistryKey, WebhookAuth};

/// More than anybody writes, few enough to compare each with each.
const MAX_REGISTRIES: usize = 1000;

pub(super) fn all(config: &Config, faults: &Faults) {
    if config.registries.len() > MAX_REGISTRIES {
        let message = format!("has {} entries, more than {MAX_REGISTRIES}", config.registries.len());
        return faults.say("registries", message);
    }
    for (key, registry) in &config.registries {
        let path = join("registries", &key.to_string());
        login(config, key, registry, &path, faults);
        let webhook = registry.webhook_auth.iter().enumerate();
        webhook.for_each(|(at, auth)| webhook_auth(key, auth, &format!("{path}.webhook_auth[{at}]"), faults));
        if key.project.is_some() {
            belongs_to_project(registry, &key.host, &path, faults);
        }
        transport(registry, &path, faults);
        limits(&registry.limits, &format!("{path}.limits"), faults);
    }
    aliases(config, faults);
}

fn login(config: &Config, key: &RegistryKey, registry: &Registry, path: &str, faults: &Faults) {
    match (&registry.username, &registry.password) {
        (None, None) => return,
        (Some(name), Some(_)) if name.is_empty() || name.contains("${") => {
            faults.say(&format!("{path}.username"), "must be the name itself: only the password can be a reference");
        }
        (Some(_), Some(_)) => {}
        (Some(_), None) => faults.say(&format!("{path}.username"), "stands without a `password`"),
        (None, Some(_)) => faults.say(&format!("{path}.password"), "stands without a `username`"),
    }
    let host = config.transport(&key.host);
    let (plain, allowed) = host.map_or((false, false), |host| (host.plain_http, host.allow_plain_credentials));
    if plain && !allowed && !is_loopback(&key.host) {
        let message = "would be sent over plain HTTP for everybody on the way to read: use TLS, or say \
                       `allow_plain_credentials: true` for this host";
        faults.say(&format!("{path}.password"), message);
    }
}

/// Whether `host`, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn webhook_auth(key: &RegistryKey, auth: &WebhookAuth, path: &str, faults: &Faults) {
    if auth.value.literal().is_some_and(|value| value.expose().trim().is_empty()) {
        faults.say(&format!("{path}.value"), super::EMPTY_AUTH);
    }
    if key.project.is_some() && !auth.projects.is_empty() {
        faults.say(&format!("{path}.projects"), format_args!("cannot stand here: `{key}` is one project already"));
    }
    for (at, project) in auth.projects.iter().enumerate().filter(|(_, project)| !is_project(project)) {
        let message = format!("`{}` does not name a project as repositories do", project.escape_debug());
        faults.say(&format!("{path}.projects[{at}]"), message);
    }
}

/// Only a login, its operator and webhook secrets can be a project's own.
fn belongs_to_project(registry: &Registry, host: &str, path: &str, faults: &Faults) {
    let Registry { aliases, ca_file, plain_http, allow_plain_credentials, proxy, token_realms, limits, .. } = registry;
    let set = [
        ("aliases", !aliases.is_empty()),
        ("ca_file", ca_file.is_some()),
        ("plain_http", *plain_http),
        ("allow_plain_credentials", *allow_plain_credentials),
        ("proxy", proxy.is_some()),
        ("token_realms", !token_realms.is_empty()),
        ("limits", *limits != LayerLimits::default()),
    ];
    for (key, _) in set.iter().filter(|(_, set)| *set) {
        faults.say(&format!("{path}.{key}"), format_args!("belongs to the host: write it under `{host}`"));
    }
}

fn transport(registry: &Registry, path: &str, faults: &Faults) {
    if registry.plain_http && registry.ca_file.is_some() {
        faults.say(&format!("{path}.ca_file"), "means nothing with `plain_http: true`");
    }
    if let Some(proxy) = registry.proxy.as_ref().and_then(|proxy| proxy.literal()) {
        proxy_url(proxy.expose(), &format!("{path}.proxy"), faults);
    }
    for (at, realm) in registry.token_realms.iter().enumerate().filter(|(_, realm)| !is_host(realm)) {
        let message = format!("`{}` is not a host: write it without scheme and path", realm.escape_debug());
        faults.say(&format!("{path}.token_realms[{at}]"), message);
    }
}

/// The URL is not quoted: it may hold a password.
fn proxy_url(url: &str, path: &str, faults: &Faults) {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        None | Some("") => faults.say(path, "must be a URL that begins with http:// or https://"),
        Some(rest) if rest.contains('@') => {
            faults.say(path, "holds a password: write the whole URL as a reference like ${env:PROXY_URL}");
        }
        Some(_) => {}
    }
}

fn limits(limits: &LayerLimits, path: &str, faults: &Faults) {
    const MAX: u64 = u32::MAX as u64;
    let rows = [
        ("entries", limits.entries, 1, MAX),
        ("ratio", u64::from(limits.ratio), 10, 1_000_000),
        ("path", limits.path.0, 256, 1 << 20),
        ("pax", limits.pax.0, 1024, 64 << 20),
        ("layer", limits.layer.0, 1 << 20, 1 << 50),
        ("zstd_window", limits.zstd_window.0, 1 << 20, 2 << 30),
    ];
    for (key, value, least, most) in rows.into_iter().filter(|row| !(row.2..=row.3).contains(&row.1)) {
        let show = |n: u64| if matches!(key, "entries" | "ratio") { n.to_string() } else { ByteSize(n).to_string() };
        let message = format!("{} is not between {} and {}", show(value), show(least), show(most));
        faults.say(&format!("{path}.{key}"), message);
    }
}

/// An alias leads to one host.
fn aliases(config: &Config, faults: &Faults) {
    let mut owners: HashMap<&str, &str> = HashMap::new();
    let hosts = config.registries.iter().filter(|(key, _)| key.project.is_none());
    for (key, registry) in hosts {
        for (at, alias) in registry.aliases.iter().enumerate() {
            let path = format!("{}[{at}]", join(&join("registries", &key.to_string()), "aliases"));
            let shown = alias.chars().take(80).collect::<String>().escape_debug().to_string();
            if alias.is_empty() || alias.contains(['/', '@', ' ']) {
                faults.say(&path, format_args!("`{shown}` is not a host: write it without scheme and path"));
            } else if config.registries.keys().any(|other| other.host == *alias) {
                faults.say(&path, format_args!("`{shown}` is a registry of its own here"));
            } else if let Some(owner) = owners.insert(alias, &key.host) {
                faults.say(&path, format_args!("`{shown}` is an alias of `{owner}` already"));
            }
        }
    }
}
