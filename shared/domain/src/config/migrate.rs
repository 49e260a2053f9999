//! acceld's configuration, turned into ours.
//!
//! Whatever acceld's file says is either taken over or named in a note with the reason; secrets become references to
//! environment variables, so that neither the new file nor a note holds one.

mod dropped;
mod leaves;
mod nydus;
mod write;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use accel_image::Platform;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fault::{ConfigErrors, join};
use super::{RegistryKey, parse};
use crate::{Format, TargetTemplate};
use leaves::Leaves;

/// A migrated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Our file. [`parse`] accepts it.
    pub yaml: String,
    /// What a person has to know or to do, a sentence or two each.
    pub notes: Vec<String>,
}

/// Why a file cannot be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It is not YAML that we read.
    #[error(transparent)]
    Unreadable(ConfigErrors),
    /// It is some other file.
    #[error("{0} is not a configuration of acceld: it has neither `provider` nor `converter`")]
    NotAcceld(String),
    /// What it says has no valid form here.
    #[error("what became of the file is not valid; correct it there and migrate again:\n{0}")]
    Invalid(ConfigErrors),
}

/// Turns `acceld_yaml`, acceld's configuration, into ours; `name` is what errors call it.
///
/// # Errors
/// See [`MigrateError`].
pub fn migrate(acceld_yaml: &str, name: &str) -> Result<Migration, MigrateError> {
    let mut leaves = Leaves::read(acceld_yaml, name).map_err(MigrateError::Unreadable)?;
    if !leaves.has("provider") && !leaves.has("converter") {
        return Err(MigrateError::NotAcceld(name.to_owned()));
    }
    let mut notes = Vec::new();
    let (listen, workers) = (listen(&mut leaves, &mut notes), workers(&mut leaves, &mut notes));
    let registries = registries(&mut leaves, &mut notes);
    let rule = rule(&mut leaves, &mut notes, &registries);
    let ours = Ours { listen, workers, registries, rule };
    notes.extend(leaves.into_paths().iter().map(|path| format!("{path}: {}", dropped::reason(path))));
    let yaml = write::yaml(&ours);
    parse(&yaml, "accel.yaml").map_err(MigrateError::Invalid)?;
    Ok(Migration { yaml, notes })
}

/// What is taken over.
struct Ours {
    listen: Option<SocketAddr>,
    workers: Option<u16>,
    registries: Vec<OurRegistry>,
    rule: OurRule,
}

struct OurRegistry {
    host: RegistryKey,
    /// User, and the variable that the password goes to.
    login: Option<(String, String)>,
    /// The variable that the webhook's secret goes to.
    webhook: Option<String>,
}

struct OurRule {
    format: Format,
    suffix: String,
    platforms: Vec<Platform>,
    /// Further keys of its entry, with their values as YAML.
    options: Vec<(&'static str, String)>,
    /// False where acceld makes what Accel does not: the rule is written as a comment.
    in_force: bool,
}

fn listen(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<SocketAddr> {
    let host = leaves.take("server.host").filter(|host| !host.is_empty());
    let port = leaves.take("server.port")?;
    let Ok(port) = port.parse::<u16>() else {
        notes.push("server.port: is not a port; Accel listens on its default, 127.0.0.1:2077".to_owned());
        return None;
    };
    let address = match host.as_deref() {
        None => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Some("localhost") => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(host) => host.parse(),
    };
    if address.is_err() {
        notes.push("server.host: is a name; Accel listens on addresses, so it became 127.0.0.1".to_owned());
    }
    Some(SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port))
}

fn workers(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<u16> {
    let text = leaves.take("converter.worker")?;
    let workers = text.parse().ok().filter(|workers| (1..=256).contains(workers));
    if workers.is_none() {
        notes.push("converter.worker: is not between 1 and 256; Accel converts 2 images at once by default".to_owned());
    }
    workers
}

fn registries(leaves: &mut Leaves, notes: &mut Vec<String>) -> Vec<OurRegistry> {
    let mut ours: Vec<OurRegistry> = Vec::new();
    for name in leaves.keys_below("provider.source") {
        let path = join("provider.source", &name);
        match name.to_ascii_lowercase().parse::<RegistryKey>() {
            Ok(host) if host.project.is_none() => {
                let number = ours.iter().filter(|other| variable(&other.host, "") == variable(&host, "")).count();
                let number = if number == 0 { String::new() } else { format!("_{}", number + 1) };
                ours.push(registry(leaves, &path, host, &number, notes));
            }
            Ok(_) | Err(_) => {
                leaves.drop_below(&path);
                notes.push(format!("{path}: is not a registry's host as image references name one; left out"));
            }
        }
    }
    ours
}

fn registry(leaves: &mut Leaves, path: &str, host: RegistryKey, number: &str, notes: &mut Vec<String>) -> OurRegistry {
    leaves.take(path); // where it has no keys of its own
    let password = variable(&host, "PASSWORD_") + number;
    let login = login(leaves, path, &password, notes).map(|user| (user, password));
    let auth = format!("{path}.webhook.auth_header");
    let webhook = leaves.take(&auth).filter(|value| !value.is_empty()).map(|_| {
        let variable = variable(&host, "WEBHOOK_AUTH_") + number;
        notes.push(format!(
            "{auth}: set the environment variable {variable} to it. Where it is set, events without the header are \
             refused; acceld lets them pass"
        ));
        variable
    });
    let insecure = format!("{path}.insecure");
    if leaves.take(&insecure).is_some_and(|value| value == "true") {
        notes.push(format!(
            "{insecure}: Accel never skips the check of a certificate: name the registry's authority in `ca_file`, or \
             write `plain_http: true` if it speaks HTTP"
        ));
    }
    OurRegistry { host, login, webhook }
}

/// The user of `auth`, which is base64 of `user:password`.
fn login(leaves: &mut Leaves, path: &str, variable: &str, notes: &mut Vec<String>) -> Option<String> {
    let path = format!("{path}.auth");
    let Some(auth) = leaves.take(&path).filter(|auth| !auth.is_empty()) else {
        notes.push(format!(
            "{path}: is empty, so acceld looks into docker's config.json; `accelctl serve` does not. Write `username` \
             and `password` if the registry wants a login"
        ));
        return None;
    };
    let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, _)) if !user.is_empty() => {
            notes.push(format!(
                "{path}: set the environment variable {variable} to the password in it, what follows the first colon \
                 after `base64 -d`"
            ));
            Some(user.to_owned())
        }
        Some(_) | None => {
            notes.push(format!("{path}: is not base64 of user:password; write `username` and `password` yourself"));
            None
        }
    }
}

/// `ACCEL_`, what it is for, and the host in capitals.
fn variable(host: &RegistryKey, purpose: &str) -> String {
    let host: String =
        host.host.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("ACCEL_{purpose}{host}")
}

fn rule(leaves: &mut Leaves, notes: &mut Vec<String>, registries: &[OurRegistry]) -> OurRule {
    let driver = leaves.take("converter.driver.type").unwrap_or_default();
    let (format, (options, in_force)) = match driver.as_str() {
        "nydus" => (Format::Nydus, nydus::entry(leaves, notes, registries)),
        driver => (Format::Estargz, (Vec::new(), is_estargz(driver, leaves, notes))),
    };
    if !in_force {
        notes.push("rules: the new file has none in force: the one at its end is a comment, see above".to_owned());
    }
    OurRule { format, suffix: suffix(leaves, format, notes), platforms: platforms(leaves, notes), options, in_force }
}

/// Whether acceld makes eStargz; what else it makes is not available.
fn is_estargz(driver: &str, leaves: &mut Leaves, notes: &mut Vec<String>) -> bool {
    let compression = leaves.take("converter.driver.config.compression").unwrap_or_default();
    let made = match (driver, compression.as_str()) {
        ("estargz", "" | "estargz") => return true,
        ("estargz", "zstdchunked") => "converter.driver.config.compression: zstdchunked",
        (_, _) => "converter.driver.type: neither nydus nor estargz",
    };
    notes.push(format!(
        "{made} is not available in this version of Accel: wait with migrating, or go over to eStargz by uncommenting \
         the rule"
    ));
    false
}

/// acceld takes the first suffix that is not empty.
fn suffix(leaves: &mut Leaves, format: Format, notes: &mut Vec<String>) -> String {
    let rules = leaves.items_of("converter.rules");
    let paths = rules.iter().map(|rule| format!("{rule}.tag_suffix"));
    let all: Vec<(String, String)> = paths.filter_map(|path| Some((path.clone(), leaves.take(&path)?))).collect();
    let mut found: Option<String> = None;
    for (path, suffix) in all.into_iter().filter(|(_, suffix)| !suffix.is_empty()) {
        let valid = suffix.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if found.is_some() {
            notes.push(format!("{path}: acceld uses the first suffix only, and so was done here"));
        } else if valid && format!("{{repository}}:{{tag}}{suffix}").parse::<TargetTemplate>().is_ok() {
            found = Some(suffix);
        } else {
            notes.push(format!("{path}: cannot be part of a tag"));
        }
    }
    found.unwrap_or_else(|| {
        let suffix = format.tag_suffix();
        notes.push(format!("converter.rules: has no `tag_suffix` that can be used; `{suffix}` was written"));
        suffix.to_owned()
    })
}

fn platforms(leaves: &mut Leaves, notes: &mut Vec<String>) -> Vec<Platform> {
    let text = leaves.take("converter.platforms").unwrap_or_default();
    let mut platforms = Vec::new();
    for written in text.split(',').map(str::trim).filter(|text| !text.is_empty() && *text != "*") {
        match written.parse() {
            Ok(platform) => platforms.push(platform),
            Err(error) => notes.push(format!("converter.platforms: {error}; left out")),
        }
    }
    platforms
}

#[cfg(test)]
mod tests;
