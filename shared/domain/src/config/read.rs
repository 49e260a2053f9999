//! Reads a file: one function a section, each asking for its keys.

mod formats;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::fault::{ConfigErrors, Fault, Faults};
use super::walk::{FromYaml, Item, Section};
use super::yaml::{self, Place};
use super::{
    Config, Convert, FanOut, LayerLimits, Log, LogFormat, LogLevel, Registry, RegistryKey, Rule, Server, Tasks, Tls,
    WebhookAuth, check,
};
use crate::rule::{Attestations, Match};
use crate::{Format, FormatOptions, TargetTemplate};

/// Larger files are refused.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Reads and checks the whole of a configuration file; `name` is what its faults call it.
///
/// # Errors
/// Every fault of the file at once.
pub fn parse(text: &str, name: &str) -> Result<Config, ConfigErrors> {
    read(text, name, |_, _| {})
}

/// The same where the file lies in AWS, for everybody to see who may look at configurations: there a secret that stands
/// in the file itself is a fault, too.
///
/// # Errors
/// Every fault of the file at once.
pub fn parse_in_aws(text: &str, name: &str) -> Result<Config, ConfigErrors> {
    read(text, name, check::no_literal_secrets)
}

fn read(text: &str, name: &str, also: impl FnOnce(&Config, &Faults)) -> Result<Config, ConfigErrors> {
    let stop = |place: Place, message: String| {
        let fault = Fault { line: place.line, column: place.column, key: String::new(), message };
        ConfigErrors::new(name, vec![fault])
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(stop(Place::START, format!("the file has {} bytes, more than 1 MiB", text.len())));
    }
    let root = yaml::read(text).map_err(|error| stop(error.place, error.message))?;
    let faults = Faults::new(&root);
    let config = Config::from_yaml(Item::root(&faults, &root)).unwrap_or_default();
    check::all(&config, &faults);
    also(&config, &faults);
    let found = faults.into_list();
    if found.is_empty() { Ok(config) } else { Err(ConfigErrors::new(name, found)) }
}

/// Reads a section whose keys all have defaults; a fault in one leaves the others to be read.
fn with_section<T>(item: &Item<'_>, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
    let mut section = item.section()?;
    let value = read(&mut section);
    section.finish();
    Some(value)
}

impl FromYaml for Config {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        with_section(&item, |section| Self {
            server: section.or("server", Server::default()),
            tasks: section.or("tasks", Tasks::default()),
            registries: section.get::<Registries>("registries").map_or_else(BTreeMap::new, |read| read.0),
            rules: section.or("rules", Vec::new()),
        })
    }
}

impl FromYaml for Server {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let default = Self::default();
        with_section(&item, |section| Self {
            listen: section.or("listen", default.listen),
            state: section.or("state", default.state),
            workers: section.or("workers", default.workers),
            threads: section.get("threads"),
            admin_auth: section.get("admin_auth"),
            webhook_body: section.or("webhook_body", default.webhook_body),
            tls: section.get("tls"),
            shutdown_grace: section.or("shutdown_grace", default.shutdown_grace),
            log: section.or("log", default.log),
        })
    }
}

impl FromYaml for SocketAddr {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        item.parsed::<ListenAddress>().map(|address| address.0)
    }
}

struct ListenAddress(SocketAddr);

impl std::str::FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown: String = text.chars().take(60).collect();
        let fail = |_| format!("`{}` is not an address with a port, like 0.0.0.0:2077", shown.escape_debug());
        text.parse().map(Self).map_err(fail)
    }
}

impl FromYaml for Tls {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let (cert_file, key_file) =
            with_section(&item, |section| (section.required("cert_file"), section.required("key_file")))?;
        Some(Self { cert_file: cert_file?, key_file: key_file? })
    }
}

impl FromYaml for Log {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let default = Self::default();
        with_section(&item, |section| Self {
            format: section.or("format", default.format),
            level: section.or("level", default.level),
        })
    }
}

impl FromYaml for LogFormat {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        item.choice(&[("text", Self::Text), ("json", Self::Json)])
    }
}

impl FromYaml for LogLevel {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let levels = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        item.choice(&levels.map(|level| (level.name(), level)))
    }
}

impl FromYaml for Tasks {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let default = Self::default();
        with_section(&item, |section| Self {
            attempts: section.or("attempts", default.attempts),
            retention: section.or("retention", default.retention),
            fan_out: section.or("fan_out", default.fan_out),
        })
    }
}

impl FromYaml for FanOut {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        with_section(&item, |section| Self { layers: section.get("layers"), bytes: section.get("bytes") })
    }
}

struct Registries(BTreeMap<RegistryKey, Registry>);

impl FromYaml for Registries {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let section = item.section()?;
        let mut registries = BTreeMap::new();
        for (name, entry) in section.entries() {
            match name.parse::<RegistryKey>() {
                Ok(key) => registries.extend(Registry::from_yaml(entry).map(|registry| (key, registry))),
                Err(error) => section.say(name, error),
            }
        }
        Some(Self(registries))
    }
}

impl FromYaml for Registry {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        if item.is_null() {
            return Some(Self::default());
        }
        with_section(&item, |section| Self {
            username: section.get("username"),
            password: section.get("password"),
            operator: section.get("operator"),
            webhook_auth: section.or("webhook_auth", Vec::new()),
            aliases: section.or("aliases", Vec::new()),
            ca_file: section.get("ca_file"),
            plain_http: section.or("plain_http", false),
            allow_plain_credentials: section.or("allow_plain_credentials", false),
            proxy: section.get("proxy"),
            token_realms: section.or("token_realms", Vec::new()),
            limits: section.or("limits", LayerLimits::default()),
        })
    }
}

impl FromYaml for WebhookAuth {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let (value, projects) =
            with_section(&item, |section| (section.required("value"), section.or("projects", Vec::new())))?;
        Some(Self { value: value?, projects })
    }
}

impl FromYaml for LayerLimits {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let default = Self::default();
        with_section(&item, |section| Self {
            entries: section.or("entries", default.entries),
            path: section.or("path", default.path),
            pax: section.or("pax", default.pax),
            layer: section.or("layer", default.layer),
            ratio: section.or("ratio", default.ratio),
            zstd_window: section.or("zstd_window", default.zstd_window),
        })
    }
}

/// A faulty rule is kept as an empty one, so that the numbers of those after it stay right.
impl FromYaml for Rule {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let read = with_section(&item, |section| Self {
            matches: section.or("match", Match::default()),
            platforms: section.or("platforms", Vec::new()),
            attestations: section.or("attestations", Attestations::default()),
            convert: section.required("convert").unwrap_or_default(),
        });
        Some(read.unwrap_or_default())
    }
}

impl FromYaml for Match {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        with_section(&item, |section| Self {
            host: section.get("host"),
            repository: section.get("repository"),
            tag: section.get("tag"),
            except_tags: section.or("except_tags", Vec::new()),
        })
    }
}

impl FromYaml for Attestations {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        item.choice(&[("drop", Self::Drop), ("carry", Self::Carry)])
    }
}

/// A faulty entry is kept too, as one of the format's defaults; its fault keeps it from being checked further.
impl FromYaml for Convert {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        let read = with_section(&item, |section| {
            let format = section.required("format").unwrap_or(Format::Estargz);
            let overwrite = section.or("overwrite", false);
            Self {
                options: match format {
                    Format::Estargz => FormatOptions::Estargz(formats::estargz(section)),
                    Format::Nydus => FormatOptions::Nydus(formats::nydus(section)),
                },
                target: section.get("target").unwrap_or_else(|| default_target(format, overwrite)),
                adopt: section.or("adopt", false),
                overwrite,
                delete: section.or("delete", false),
                subject: section.get("subject"),
            }
        });
        Some(read.unwrap_or_else(|| Self::of(Format::Estargz)))
    }
}

impl Convert {
    /// An entry with everything at its default.
    #[must_use]
    pub fn of(format: Format) -> Self {
        Self {
            options: format.default_options(),
            target: default_target(format, false),
            adopt: false,
            overwrite: false,
            delete: false,
            subject: None,
        }
    }
}

fn default_target(format: Format, overwrite: bool) -> TargetTemplate {
    let suffix = if overwrite { "" } else { format.tag_suffix() };
    format!("{{repository}}:{{tag}}{suffix}").parse().expect("a suffix holds neither brace nor slash")
}
