//! Harbor's CloudEvents format (2.8 and later), structured mode. `id` is new for each delivery and repeated by its
//! retries; `source` names project and policy but not the host, which the resources name.

use accel_domain::{Event, EventKind};
use serde::Deserialize;
use serde_json::json;

use super::{EventData, Hosts, PayloadError, json, name, needed};

#[derive(Deserialize)]
struct Head {
    r#type: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    source: Option<String>,
    operator: Option<String>,
    data: Option<EventData>,
}

/// The event in `body`; `None` for a type that is not handled, whatever else is in it.
pub(super) fn parse(body: &[u8], hosts: Hosts<'_>) -> Result<Option<Event>, PayloadError> {
    let head: Head = json(body)?;
    let kind = match needed(head.r#type, "type")?.as_str() {
        "harbor.artifact.pushed" => EventKind::Push,
        "harbor.artifact.deleted" => EventKind::Delete,
        _ => return Ok(None),
    };
    let body: Body = json(body)?;
    let id = needed(name(body.id, "id")?, "id")?;
    let source = needed(name(body.source, "source")?, "source")?;
    Ok(Some(Event {
        kind,
        operator: name(body.operator, "operator")?,
        delivery: Some(json!([source, id]).to_string()),
        resources: needed(body.data, "data")?.resources("data", hosts)?,
    }))
}
