//! Harbor's own format ("Default"), and acceld's subset of it: `type` and `event_data.resources[].resource_url`.

use accel_domain::{Event, EventKind};
use serde::Deserialize;

use super::{EventData, Hosts, PayloadError, json, name, needed};

#[derive(Deserialize)]
struct Head {
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    occur_at: Option<i64>,
    operator: Option<String>,
    event_data: Option<EventData>,
}

/// The event in `body`; `None` for a type that is not handled, whatever else is in it.
pub(super) fn parse(body: &[u8], hosts: Hosts<'_>) -> Result<Option<Event>, PayloadError> {
    let head: Head = json(body)?;
    let kind = match needed(head.r#type, "type")?.as_str() {
        "PUSH_ARTIFACT" => EventKind::Push,
        "DELETE_ARTIFACT" => EventKind::Delete,
        _ => return Ok(None),
    };
    let body: Body = json(body)?;
    Ok(Some(Event {
        kind,
        operator: name(body.operator, "operator")?,
        delivery: body.occur_at.map(|seconds| seconds.to_string()),
        resources: needed(body.event_data, "event_data")?.resources("event_data", hosts)?,
    }))
}
