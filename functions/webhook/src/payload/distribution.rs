//! Notifications of the distribution registry: an envelope of events, each about one manifest or blob.
//! Registry 2 calls the format v1, registry 3 v2. Spec: distribution, "Work with notifications".

use accel_domain::{Event, EventKind, Resource};
use accel_image::Reference;
use serde::Deserialize;

use super::{Hosts, MAX_RESOURCES, PayloadError, digest, json, name, needed, resource};

#[derive(Deserialize)]
struct Envelope {
    events: Option<Vec<Notice>>,
}

#[derive(Deserialize)]
struct Notice {
    id: Option<String>,
    action: Option<String>,
    target: Option<Target>,
    request: Option<Request>,
    actor: Option<Actor>,
}

#[derive(Deserialize)]
struct Target {
    repository: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    host: Option<String>,
}

#[derive(Deserialize)]
struct Actor {
    name: Option<String>,
}

/// The pushes and deletions in `body`; pulls and mounts are left out.
pub(super) fn parse(body: &[u8], hosts: Hosts<'_>) -> Result<Vec<Event>, PayloadError> {
    let envelope: Envelope = json(body)?;
    let notices = needed(envelope.events, "events")?;
    if notices.len() > MAX_RESOURCES {
        return Err(PayloadError::TooMany);
    }
    let read = |(index, notice): (usize, Notice)| notice.read(&format!("events[{index}]"), hosts).transpose();
    notices.into_iter().enumerate().filter_map(read).collect()
}

impl Notice {
    fn read(self, at: &str, hosts: Hosts<'_>) -> Result<Option<Event>, PayloadError> {
        let kind = match needed(self.action, format!("{at}.action"))?.as_str() {
            "push" => EventKind::Push,
            "delete" => EventKind::Delete,
            _ => return Ok(None),
        };
        let target = needed(self.target, format!("{at}.target"))?;
        let asked = self.request.and_then(|request| request.host);
        Ok(Some(Event {
            kind,
            operator: name(self.actor.and_then(|actor| actor.name), "actor.name")?,
            delivery: name(self.id, "id")?,
            resources: vec![target.read(asked, at, hosts)?],
        }))
    }
}

impl Target {
    /// `asked` is the host that the client asked for; where the registry itself was at work, the host of its URL.
    fn read(self, asked: Option<String>, at: &str, hosts: Hosts<'_>) -> Result<Resource, PayloadError> {
        let from_url = || self.url.as_deref().and_then(url_host).map(str::to_owned);
        let host = asked.filter(|host| !host.is_empty()).or_else(from_url);
        let host = needed(host, format!("{at}.request.host"))?;
        let repository = needed(self.repository, format!("{at}.target.repository"))?;
        let digest = digest(self.digest, &format!("{at}.target.digest"))?;
        let tag = self.tag.filter(|tag| !tag.is_empty());
        if tag.is_none() && digest.is_none() {
            return Err(PayloadError::Missing(format!("{at}.target.digest")));
        }
        let bad = || PayloadError::ResourceUrl(format!("{at}.target"));
        let in_name = if tag.is_none() { digest } else { None };
        let named = hosts(&host).unwrap_or_else(|| host.clone());
        let reference = Reference::new(&named, &repository, tag.as_deref(), in_name).map_err(|_| bad())?;
        let written = reference.to_string().replacen(&named, &host, 1);
        resource(written, reference, digest).ok_or_else(bad)
    }
}

/// `host[:port]` of an http or https URL.
fn url_host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split('/').next().filter(|host| !host.is_empty())
}
