//! What registries send, turned into events. Each format has a file; what they share is here.
//!
//! A body is bounded by the caller and read member by member: a member that is not needed may be absent, null or
//! unknown, one that is needed is asked for by name. Nothing that a payload says is ever used as an address.

mod cloudevents;
mod distribution;
mod harbor;

use accel_domain::{Event, Resource};
use accel_image::{Digest, Reference};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest name in a payload (an operator, an id, a source) in bytes.
const MAX_NAME_BYTES: usize = 512;

/// The most resources in one body: Harbor sends one, the distribution registry a few. The ids of their tasks have to
/// fit into one header (API Gateway allows 10 KB), and all of them are to be stored while the sender waits.
pub(crate) const MAX_RESOURCES: usize = 100;

/// What is wrong with a payload. Always the sender's fault: 400.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// No content type, or one that no registry uses for events.
    #[error(
        "invalid webhook payload: the content type has to be application/json, application/cloudevents+json or \
         application/vnd.docker.distribution.events.v2+json"
    )]
    ContentType,
    /// Not JSON, or a member of the wrong type.
    #[error("invalid webhook payload: {0}")]
    Shape(String),
    /// A member that is needed is absent or null.
    #[error("invalid webhook payload: `{0}` is missing")]
    Missing(String),
    /// A name that is too long or holds control characters.
    #[error("invalid webhook payload: `{0}` is longer than {MAX_NAME_BYTES} bytes or holds control characters")]
    Name(&'static str),
    /// More resources than one body may name.
    #[error("invalid webhook payload: more than {MAX_RESOURCES} resources in one body")]
    TooMany,
    /// Two members that contradict each other.
    #[error("invalid webhook payload: `{0}` and `{1}` contradict each other")]
    Contradiction(String, &'static str),
    /// An image name that cannot be read. Its text is not repeated: it may hold a password.
    #[error("failed to parse resource url: `{0}` is not of the form host/repository:tag")]
    ResourceUrl(String),
}

/// Finds the configured name of a host by any name that events use for it.
pub type Hosts<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the events in `body`, whatever its format. Events of no interest (pulls, scans) are left out, so the list
/// may be empty. Hosts that `hosts` knows come out under their configured names, others as they are.
///
/// # Errors
/// See [`PayloadError`].
pub fn parse(headers: &HeaderMap, body: &[u8], hosts: Hosts<'_>) -> Result<Vec<Event>, PayloadError> {
    let events = match media_type(headers).as_deref() {
        Some("application/json") => harbor::parse(body, hosts)?.into_iter().collect(),
        Some("application/cloudevents+json") => cloudevents::parse(body, hosts)?.into_iter().collect(),
        Some(
            "application/vnd.docker.distribution.events.v1+json" | "application/vnd.docker.distribution.events.v2+json",
        ) => distribution::parse(body, hosts)?,
        Some(_) | None => return Err(PayloadError::ContentType),
    };
    let resources: usize = events.iter().map(|event| event.resources.len()).sum();
    if resources > MAX_RESOURCES { Err(PayloadError::TooMany) } else { Ok(events) }
}

/// The media type of the body, lower case, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(|text| text.trim().to_ascii_lowercase())
}

/// Reads JSON; an error names the member that is wrong.
fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, PayloadError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let place = error.path().to_string();
        let said = printable(&error.into_inner().to_string());
        PayloadError::Shape(if place == "." { said } else { format!("`{}`: {said}", printable(&place)) })
    })?;
    reader.end().map_err(|error| PayloadError::Shape(printable(&error.to_string())))?;
    Ok(value)
}

/// At most 200 characters of `text`, without control characters: parts of the body come back in errors.
fn printable(text: &str) -> String {
    text.chars().take(200).collect::<String>().escape_debug().to_string()
}

/// `value`, or the error that names it.
fn needed<T>(value: Option<T>, name: impl Into<String>) -> Result<T, PayloadError> {
    value.ok_or_else(|| PayloadError::Missing(name.into()))
}

/// `text`, if it can be stored and logged as it is.
fn name(text: Option<String>, member: &'static str) -> Result<Option<String>, PayloadError> {
    let bad = |text: &String| text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control);
    match text {
        Some(text) if bad(&text) => Err(PayloadError::Name(member)),
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

/// Harbor's `event_data`, the same in both of its formats.
#[derive(Deserialize)]
struct EventData {
    resources: Option<Vec<HarborResource>>,
    repository: Option<HarborRepository>,
}

#[derive(Deserialize)]
struct HarborResource {
    digest: Option<String>,
    resource_url: Option<String>,
}

#[derive(Deserialize)]
struct HarborRepository {
    repo_full_name: Option<String>,
}

impl EventData {
    /// The resources; `at` is where this object stands in the payload.
    fn resources(self, at: &str, hosts: Hosts<'_>) -> Result<Vec<Resource>, PayloadError> {
        let list = needed(self.resources, format!("{at}.resources"))?;
        if list.len() > MAX_RESOURCES {
            return Err(PayloadError::TooMany);
        }
        let repository = self.repository.and_then(|repository| repository.repo_full_name);
        list.into_iter()
            .enumerate()
            .map(|(index, resource)| resource.read(&format!("{at}.resources[{index}]"), repository.as_deref(), hosts))
            .collect()
    }
}

impl HarborResource {
    fn read(self, at: &str, repository: Option<&str>, hosts: Hosts<'_>) -> Result<Resource, PayloadError> {
        let member = format!("{at}.resource_url");
        let written = needed(self.resource_url, member.clone())?;
        let reference = reference(&written, hosts).ok_or_else(|| PayloadError::ResourceUrl(member.clone()))?;
        if repository.is_some_and(|full| full != reference.repository()) {
            return Err(PayloadError::Contradiction(member, "repository.repo_full_name"));
        }
        let digest = digest(self.digest, &format!("{at}.digest"))?;
        resource(written, reference, digest).ok_or(PayloadError::Contradiction(member, "digest"))
    }
}

/// An image name as an event writes it. Unlike a person, an event always names the host.
fn reference(written: &str, hosts: Hosts<'_>) -> Option<Reference> {
    let (host, rest) = written.split_once('/')?;
    let host = hosts(host).unwrap_or_else(|| host.to_owned());
    let reference: Reference = format!("{host}/{rest}").parse().ok()?;
    (reference.host() == host).then_some(reference)
}

fn digest(text: Option<String>, member: &str) -> Result<Option<Digest>, PayloadError> {
    let read = |text: String| text.parse().map_err(|error| PayloadError::Shape(format!("`{member}`: {error}")));
    text.filter(|text| !text.is_empty()).map(read).transpose()
}

/// A resource whose digest stands beside its name or in it; `None` if the two differ.
fn resource(written: String, reference: Reference, digest: Option<Digest>) -> Option<Resource> {
    if let (Some(beside), Some(inside)) = (digest, reference.digest())
        && beside != inside
    {
        return None;
    }
    let digest = digest.or(reference.digest());
    let tagged = reference.tag().and_then(|tag| reference.with_tag(tag).ok());
    Some(Resource { written, reference: tagged.unwrap_or(reference), digest })
}

#[cfg(test)]
mod tests;
