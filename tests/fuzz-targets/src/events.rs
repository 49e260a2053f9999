//! What is sent to the webhook.

use accel_webhook::payload;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::{Target, choose, with_choices};

pub(crate) const WEBHOOK: Target = Target { name: "webhook", run: read_event, seeds: payloads, words: WORDS };

const TYPES: [&str; 3] =
    ["application/json", "application/cloudevents+json", "application/vnd.docker.distribution.events.v2+json"];
const WORDS: &[&str] = &[
    "\"type\":\"PUSH_ARTIFACT\"",
    "\"type\":\"DELETE_ARTIFACT\"",
    "\"event_data\":",
    "\"resources\":[",
    "\"resource_url\":",
    "\"digest\":",
    "\"tag\":",
    "\"operator\":",
    "\"repository\":{",
    "\"repo_full_name\":",
    "\"occur_at\":",
    "\"events\":[",
    "\"action\":\"push\"",
    "\"target\":{",
    "\"specversion\":\"1.0\"",
    "\"data\":{",
    "sha256:",
    "@sha256:",
    "user:pass@",
    "null",
    "[[[[[[[[",
    "\\u0000",
    "-1",
    "1e99",
];
const MOST_RESOURCES: usize = 100;

fn payloads() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 8] = [
        include_bytes!("../../../functions/webhook/payloads/harbor_push.json"),
        include_bytes!("../../../functions/webhook/payloads/harbor_push_by_digest.json"),
        include_bytes!("../../../functions/webhook/payloads/harbor_delete.json"),
        include_bytes!("../../../functions/webhook/payloads/harbor_quota.json"),
        include_bytes!("../../../functions/webhook/payloads/acceld_cli.json"),
        include_bytes!("../../../functions/webhook/payloads/cloudevents_push.json"),
        include_bytes!("../../../functions/webhook/payloads/cloudevents_delete.json"),
        include_bytes!("../../../functions/webhook/payloads/distribution.json"),
    ];
    with_choices(TYPES.len() as u8, &bodies.map(<[u8]>::to_vec))
}

/// An event is refused, or names no more than it may, and nothing that cannot be stored and logged as it is.
fn read_event(bytes: &[u8]) -> bool {
    let Some((kind, body)) = choose(bytes, &TYPES) else { return false };
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let hosts = |host: &str| (host == "harbor-core").then(|| "harbor.example.com".to_owned());
    match payload::parse(&headers, body, &hosts) {
        Ok(events) => {
            let resources: Vec<_> = events.iter().flat_map(|event| &event.resources).collect();
            assert!(resources.len() <= MOST_RESOURCES);
            for resource in resources {
                assert!(!resource.reference.to_string().contains(char::is_control));
            }
            let names = events.iter().flat_map(|event| [&event.operator, &event.delivery]).flatten();
            names.for_each(|name| assert!(!name.contains(char::is_control), "{name:?}"));
            true
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            false
        }
    }
}
