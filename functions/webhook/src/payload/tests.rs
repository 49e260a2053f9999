//! Payloads as registries send them, and as they must not.

use accel_domain::EventKind;
use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const JSON: &str = "application/json";
const CLOUD: &str = "application/cloudevents+json";
const DISTRIBUTION: &str = "application/vnd.docker.distribution.events.v1+json";

fn parse_as(content_type: &str, body: impl AsRef<[u8]>) -> Result<Vec<Event>, PayloadError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    parse(&headers, body.as_ref(), &|host| (host == "harbor-core").then(|| "harbor.example.com".to_owned()))
}

fn one(content_type: &str, body: &str) -> Event {
    let mut events = parse_as(content_type, body).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn digest_of(letter: &str) -> Digest {
    format!("sha256:{}", letter.repeat(64)).parse().unwrap()
}

#[test]
fn harbor_says_who_pushed_what_and_when() {
    let event = one(JSON, include_str!("../../payloads/harbor_push.json"));
    assert_eq!(event.kind, EventKind::Push);
    assert_eq!(event.operator.as_deref(), Some("robot$library+ci"));
    assert_eq!(event.delivery.as_deref(), Some("1756000000"));
    let resource = &event.resources[0];
    assert_eq!(resource.written, "harbor.example.com/library/team/app:v1.2.3");
    assert_eq!(resource.reference.to_string(), resource.written);
    assert_eq!(resource.digest, Some(digest_of("a")));
}

#[test]
fn a_push_by_digest_has_no_tag() {
    let event = one(JSON, include_str!("../../payloads/harbor_push_by_digest.json"));
    assert!(event.resources[0].is_digest_only());
    assert_eq!(event.resources[0].digest, Some(digest_of("b")));
}

#[test]
fn cloudevents_say_the_same_with_an_id_of_their_own() {
    let event =
        one("application/cloudevents+json; charset=UTF-8", include_str!("../../payloads/cloudevents_push.json"));
    let plain = one(JSON, include_str!("../../payloads/harbor_push.json"));
    assert_eq!((&event.operator, &event.resources), (&plain.operator, &plain.resources));
    let delivery = r#"["/projects/1/webhook/policies/3","4b2f89a6-548d-4c12-9993-a1f5790b97d2"]"#;
    assert_eq!(event.delivery.as_deref(), Some(delivery));
    let deleted = one(CLOUD, include_str!("../../payloads/cloudevents_delete.json"));
    assert_eq!(deleted.kind, EventKind::Delete);
}

#[test]
fn distribution_envelopes_hold_many_events() {
    let events = parse_as(DISTRIBUTION, include_str!("../../payloads/distribution.json")).unwrap();
    let seen: Vec<_> = events.iter().map(|e| (e.kind, e.resources[0].reference.tag(), e.delivery.as_deref())).collect();
    let expected = [
        (EventKind::Push, None, Some("asdf-asdf-asdf-asdf-0")),
        (EventKind::Push, Some("v1.2.3"), Some("asdf-asdf-asdf-asdf-1")),
        (EventKind::Delete, Some("v1.0.0"), Some("asdf-asdf-asdf-asdf-2")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(events[1].operator.as_deref(), Some("ci"));
    assert_eq!(events[1].resources[0].digest, Some(digest_of("a")));
    assert_eq!(events[1].resources[0].written, "harbor.example.com/library/team/app:v1.2.3");
}

#[test]
fn where_no_client_asked_the_url_names_the_host() {
    let hex = "a".repeat(64);
    let body = format!(
        r#"{{"events":[{{"action":"push","target":{{"repository":"p/r","tag":"1","digest":"sha256:{hex}",
            "url":"http://r.example:5000/v2/p/r/manifests/sha256:{hex}"}},"request":{{}}}}]}}"#
    );
    assert_eq!(one(DISTRIBUTION, &body).resources[0].reference.to_string(), "r.example:5000/p/r:1");
}

#[test]
fn other_names_of_a_host_become_its_configured_one() {
    let body = include_str!("../../payloads/harbor_push.json").replace("harbor.example.com", "harbor-core");
    let resource = one(JSON, &body).resources.remove(0);
    assert_eq!(resource.written, "harbor-core/library/team/app:v1.2.3");
    assert_eq!(resource.reference.host(), "harbor.example.com");
    let body = include_str!("../../payloads/distribution.json").replace("harbor.example.com", "harbor-core");
    let resource = parse_as(DISTRIBUTION, &body).unwrap().remove(1).resources.remove(0);
    assert_eq!(resource.written, "harbor-core/library/team/app:v1.2.3");
    assert_eq!(resource.reference.host(), "harbor.example.com");
}

#[test]
fn what_acceld_sends_is_enough() {
    let event = one("application/json; charset=UTF-8", include_str!("../../payloads/acceld_cli.json"));
    assert_eq!((event.operator, event.delivery), (None, None));
    assert_eq!(event.resources[0].digest, None);
    assert_eq!(event.resources[0].reference.tag(), Some("v1.2.3"));
}

#[test]
fn other_types_are_no_events_whatever_they_hold() {
    let rows = [
        (JSON, include_str!("../../payloads/harbor_quota.json")),
        (JSON, r#"{"type":"PULL_ARTIFACT","event_data":7}"#),
        (CLOUD, r#"{"type":"harbor.scan.completed","data":null}"#),
        (DISTRIBUTION, r#"{"events":[{"action":"mount"}]}"#),
    ];
    for (content_type, body) in rows {
        assert_eq!(parse_as(content_type, body).unwrap(), [], "{body}");
    }
}

#[test]
fn refuses_malformed_bodies_by_name() {
    let push = |data: &str| format!(r#"{{"type":"PUSH_ARTIFACT","event_data":{data}}}"#);
    let resource = |resource: &str| push(&format!(r#"{{"resources":[{resource}]}}"#));
    let rows = [
        (JSON, String::new(), "EOF"),
        (JSON, "not json".into(), "expected"),
        (JSON, "{} {}".into(), "trailing"),
        (JSON, "null".into(), "null"),
        (JSON, "{}".into(), "`type` is missing"),
        (JSON, r#"{"type":null}"#.into(), "`type` is missing"),
        (JSON, r#"{"type":7}"#.into(), "`type`: invalid type: integer"),
        (JSON, r#"{"type":"PUSH_ARTIFACT"}"#.into(), "`event_data` is missing"),
        (JSON, push("null"), "`event_data` is missing"),
        (JSON, push("{}"), "`event_data.resources` is missing"),
        (JSON, push(r#"{"resources":{}}"#), "`event_data.resources`: invalid type: map"),
        (JSON, resource("null"), "`event_data.resources[0]`: invalid type: null"),
        (JSON, resource("{}"), "`event_data.resources[0].resource_url` is missing"),
        (JSON, resource(r#"{"resource_url":5}"#), "`event_data.resources[0].resource_url`: invalid type"),
        (JSON, resource(r#"{"resource_url":"h.example/r:1","digest":"md5:0"}"#), "`event_data.resources[0].digest`"),
        (JSON, r#"{"type":"PUSH_ARTIFACT","occur_at":"now","event_data":{}}"#.into(), "`occur_at`"),
        (JSON, r#"{"type":"PUSH_ARTIFACT","operator":"a\nb","event_data":{}}"#.into(), "`operator`"),
        (CLOUD, r#"{"type":"harbor.artifact.pushed","source":"s","data":{}}"#.into(), "`id` is missing"),
        (CLOUD, r#"{"type":"harbor.artifact.pushed","id":"","source":"s"}"#.into(), "`id` is missing"),
        (CLOUD, r#"{"type":"harbor.artifact.pushed","id":"i","source":"s"}"#.into(), "`data` is missing"),
        (DISTRIBUTION, "{}".into(), "`events` is missing"),
        (DISTRIBUTION, r#"{"events":[{}]}"#.into(), "`events[0].action` is missing"),
        (DISTRIBUTION, r#"{"events":[{"action":"push"}]}"#.into(), "`events[0].target` is missing"),
        (DISTRIBUTION, r#"{"events":[{"action":"push","target":{}}]}"#.into(), "`events[0].request.host` is missing"),
        ("text/plain", "{}".into(), "content type"),
        ("application/xml", "{}".into(), "content type"),
        ("application/jsonp", "{}".into(), "content type"),
    ];
    for (content_type, body, expected) in rows {
        let said = parse_as(content_type, &body).unwrap_err().to_string();
        assert!(said.starts_with("invalid webhook payload") && said.contains(expected), "{body}: {said}");
    }
}

#[test]
fn refuses_bad_resource_urls_without_repeating_them() {
    let long = format!("h.example/{}:1", "a".repeat(2000));
    let rows = [
        "",
        "nginx",
        "nginx:latest",
        "library/nginx:1",
        "https://h.example/p/r:1",
        "user:hunter2@h.example/p/r:1",
        "h.example/../r:1",
        "h.example/p/%2e%2e:1",
        "h.example/P/r:1",
        "h.example/p/r:1\\n",
        "h.example/p/r:1\\u0000",
        "h.example/p/r@sha256:1",
        "169.254.169.254",
        &long,
    ];
    for url in rows {
        let body = format!(r#"{{"type":"PUSH_ARTIFACT","event_data":{{"resources":[{{"resource_url":"{url}"}}]}}}}"#);
        let said = parse_as(JSON, body).unwrap_err().to_string();
        assert!(said.starts_with("failed to parse resource url"), "{url}: {said}");
        assert!(!said.contains("hunter2") && said.len() < 200, "{said}");
    }
}

#[test]
fn refuses_members_that_contradict_each_other() {
    let (one, other) = (digest_of("a"), digest_of("b"));
    let rows = [
        format!(r#"{{"resources":[{{"digest":"{one}","resource_url":"h.example/p/r@{other}"}}]}}"#),
        r#"{"resources":[{"resource_url":"h.example/p/r:1"}],"repository":{"repo_full_name":"p/other"}}"#.to_owned(),
    ];
    for data in rows {
        let said = parse_as(JSON, format!(r#"{{"type":"PUSH_ARTIFACT","event_data":{data}}}"#)).unwrap_err();
        assert!(matches!(said, PayloadError::Contradiction(..)), "{said}");
    }
}

#[test]
fn bounds_depth_count_and_names() {
    let deep = format!(r#"{{"type":{}"#, "[".repeat(100_000));
    assert!(parse_as(JSON, deep).is_err());
    let list = |count: usize| vec![r#"{"resource_url":"h.example/r:1"}"#; count].join(",");
    let push = |count| format!(r#"{{"type":"PUSH_ARTIFACT","event_data":{{"resources":[{}]}}}}"#, list(count));
    assert_eq!(parse_as(JSON, push(MAX_RESOURCES)).unwrap()[0].resources.len(), MAX_RESOURCES);
    assert!(matches!(parse_as(JSON, push(MAX_RESOURCES + 1)), Err(PayloadError::TooMany)));
    let id = "i".repeat(MAX_NAME_BYTES + 1);
    let long = format!(r#"{{"type":"harbor.artifact.pushed","id":"{id}","source":"s","data":{{"resources":[]}}}}"#);
    assert!(matches!(parse_as(CLOUD, long), Err(PayloadError::Name("id"))));
}

proptest! {
    #[test]
    fn no_body_brings_it_down(body in prop::collection::vec(any::<u8>(), 0..300), which in 0..3_usize) {
        let _outcome = parse_as([JSON, CLOUD, DISTRIBUTION][which], body);
    }

    #[test]
    fn no_cut_or_changed_payload_brings_it_down(cut in 0..700_usize, at in 0..700_usize, to in any::<u8>()) {
        let mut body = include_bytes!("../../payloads/harbor_push.json").to_vec();
        let at = at % body.len();
        body[at] = to;
        body.truncate(cut);
        if let Ok(events) = parse_as(JSON, body) {
            prop_assert!(events.iter().flat_map(|e| &e.resources).all(|r| !r.written.contains(char::is_control)));
        }
    }
}
