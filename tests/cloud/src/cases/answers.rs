//! Requests and what is answered to each.

use accel_image::Digest;
use serde_json::{Value, json};

use crate::ask::{Answer, Ask};
use crate::events::{Pushed, harbor};
use crate::target::{Key, Nowhere, OPERATOR, PATIENCE, Target};

const ID: &str = "00000000-0000-4000-8000-000000000009";

/// What has to come back.
#[derive(Debug)]
enum Expected {
    /// `"Ok"`, and no task.
    Nothing,
    /// An error with a status, a code and part of its message.
    Error(u16, &'static str, &'static str),
    /// There is no such path.
    Nowhere(Nowhere),
    /// A status and the whole body.
    Body(u16, &'static str),
}

type Row = (String, Ask, Expected);

pub(super) async fn requests_are_answered_as_the_table_says(target: &Target) {
    let rows = [reads(), ignored(target), malformed(target), not_ours(target), nowhere(target), unknown_tasks()];
    for (what, ask, expected) in rows.into_iter().flatten() {
        let answer = target.ask(ask).await;
        assert!(expected.is(&answer), "{what}: {expected:?} is not {answer:?}");
    }
    assert_eq!(target.listed("?source=/answers/", Key::Admin).await, [Value::Null; 0], "one of them made a task");
}

impl Expected {
    fn is(&self, answer: &Answer) -> bool {
        match self {
            Self::Nothing => answer.is_ok() && answer.ids().is_empty(),
            Self::Error(status, code, message) => answer.is_error(*status, code, message),
            Self::Nowhere(by) => {
                let gateway_s_own = || answer.json()["message"] == "Missing Authentication Token";
                answer.is_error(404, "ERR_INVALID_ENDPOINT", "Endpoint not found")
                    || *by == Nowhere::Gateway && gateway_s_own()
            }
            Self::Body(status, body) => (answer.status, answer.body.as_str()) == (*status, body),
        }
    }
}

fn image(target: &Target, tag: &str) -> Pushed {
    target.claimed("library/answers/app", tag, Digest::of(b"an image that is not there"))
}

fn hooked(event: impl ToString) -> Ask {
    Ask::event(event).auth(Key::Hook)
}

fn list(query: &str) -> Ask {
    Ask::get(format!("/api/v1/conversions{query}")).auth(Key::Admin)
}

/// What is read by everybody, and questions that make no sense.
fn reads() -> Vec<Row> {
    let filter = |query: &'static str, named| {
        (query.to_owned(), list(query), Expected::Error(400, "ERR_ILLEGAL_PARAMETER", named))
    };
    vec![
        ("health".to_owned(), Ask::get("/api/v1/health"), Expected::Body(200, "Ok")),
        ("an empty list".to_owned(), list("?source=nothing"), Expected::Body(200, "[]")),
        ("a filter that is not known".to_owned(), list("?source=nothing&unknown=1"), Expected::Body(200, "[]")),
        filter("?status=DONE", "status"),
        filter("?limit=0", "limit"),
        filter("?limit=-1", "limit"),
        filter("?limit=x", "limit"),
        filter("?cursor=x", "cursor"),
        filter("?cursor=%00", "cursor"),
    ]
}

/// Events that are heard, and make no task.
fn ignored(target: &Target) -> Vec<Row> {
    let app = image(target, "v1");
    let with = |key: &str, value: Value| {
        let mut event = harbor(&[&app], 0);
        event[key] = value;
        event
    };
    let hex = "e".repeat(64);
    let tagged = |tag: &str| harbor(&[&image(target, tag)], 0);
    let by_digest = format!("{}/library/answers/app@sha256:{hex}", target.host());
    let by_digest = json!({ "digest": format!("sha256:{hex}"), "resource_url": by_digest });
    let mut echo = tagged("v1-esgz");
    echo["operator"] = json!(OPERATOR);
    let rows = [
        ("a pull", with("type", json!("PULL_ARTIFACT"))),
        ("a scan", json!({ "type": "SCANNING_COMPLETED" })),
        ("no resources", json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [] } })),
        ("a tag that no rule is for", tagged("1-dev")),
        ("a signature", tagged(&format!("sha256-{hex}.sig"))),
        ("an SBOM", tagged(&format!("sha256-{hex}.sbom"))),
        ("the fallback tag of referrers", tagged(&format!("sha256-{hex}"))),
        ("a child of an index", json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [by_digest] } })),
        ("the echo of our own push", echo),
    ];
    rows.into_iter().map(|(what, event)| (what.to_owned(), hooked(event), Expected::Nothing)).collect()
}

/// Bodies that nobody can make sense of, or is willing to.
fn malformed(target: &Target) -> Vec<Row> {
    let good = harbor(&[&image(target, "v1")], 0).to_string();
    let resource = |value: Value| json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [value] } });
    let url = |url: &str| resource(json!({ "resource_url": url }));
    let many: Vec<_> = (0..1000).map(|at| image(target, &at.to_string())).collect();
    let rows = [
        ("no JSON", hooked("{"), "invalid webhook payload"),
        ("nothing", hooked(""), "invalid webhook payload"),
        ("a list", hooked("[1]"), "invalid webhook payload"),
        ("two values", hooked("{}{}"), "invalid webhook payload"),
        ("depth", hooked("[".repeat(100_000)), "invalid webhook payload"),
        ("a control character", hooked("\u{1}"), "invalid webhook payload"),
        ("another content type", hooked(&good).content_type("text/plain"), "invalid webhook payload"),
        ("no event_data", hooked(json!({ "type": "PUSH_ARTIFACT" })), "event_data"),
        ("null resource", hooked(resource(Value::Null)), "event_data"),
        ("no host", hooked(url("nginx:latest")), "failed to parse resource url"),
        ("a blank", hooked(url("harbor.example.com/library/a b:1")), "failed to parse resource url"),
        ("a user", hooked(url("user:pw@harbor.example.com/p/r:1")), "failed to parse resource url"),
        ("a way out", hooked(url("harbor.example.com/../../etc:v1")), "failed to parse resource url"),
        ("an odd digest", hooked(resource(json!({ "resource_url": "h.example/p/r:1", "digest": "sha256:xyz" }))), ""),
        ("a thousand images", hooked(harbor(&many.iter().collect::<Vec<_>>(), 0)), ""),
    ];
    let illegal = |(what, ask, message): (&str, Ask, &'static str)| {
        (what.to_owned(), ask, Expected::Error(400, "ERR_ILLEGAL_PARAMETER", message))
    };
    let large = hooked(format!("{good}{}", " ".repeat(2 << 20)));
    let too_large = ("2 MiB".to_owned(), large, Expected::Error(413, "ERR_BODY_TOO_LARGE", "1MiB"));
    rows.into_iter().map(illegal).chain([too_large]).collect()
}

/// Events that the header does not cover, hosts that nobody has configured, and no header that counts.
fn not_ours(target: &Target) -> Vec<Row> {
    let app = image(target, "v1");
    let at = |host: &str| app.clone().at(host);
    let private = Pushed { repository: "private/answers/app".to_owned(), ..app.clone() };
    let library = |images: &[&Pushed]| Ask::event(harbor(images, 0)).auth(Key::Library);
    let rows = [
        ("no header", Ask::event(harbor(&[&app], 0))),
        ("two headers", Ask::event(harbor(&[&app], 0)).auth(Key::Hook).auth(Key::Hook)),
        ("an unknown host", hooked(harbor(&[&at("unknown.example.com")], 0))),
        ("the machine's own secrets", hooked(harbor(&[&at("169.254.169.254:80")], 0))),
        ("another project", library(&[&app, &private])),
        ("another host", library(&[&app, &at(&target.other_host())])),
        ("a secret of another host", Ask::event(harbor(&[&app], 0)).auth(Key::Other)),
        ("a list without a header", Ask::get("/api/v1/conversions")),
        ("a task without a header", Ask::get(format!("/api/v1/conversions/{ID}"))),
        ("a retry without a header", Ask::new("POST", format!("/api/v1/conversions/{ID}/retry"))),
        ("a cancellation without a header", Ask::new("DELETE", format!("/api/v1/conversions/{ID}"))),
        ("metrics without a header", Ask::get("/metrics")),
        ("metrics with a header of somebody else", Ask::get("/metrics").auth(Key::Hook)),
    ];
    let refused = || Expected::Error(401, "ERR_UNAUTHORIZED", "invalid auth config");
    rows.into_iter().map(|(what, ask)| (what.to_owned(), ask, refused())).collect()
}

/// Paths that are not there, or not with this method.
fn nowhere(target: &Target) -> Vec<Row> {
    let rows = [
        ("GET", "/"),
        ("GET", "/api/v1"),
        ("GET", "/api/v1/nothing"),
        ("POST", "/nothing"),
        ("PUT", "/api/v1/conversions"),
        ("DELETE", "/api/v1/conversions"),
        ("PATCH", "/api/v1/conversions/1"),
        ("GET", "/api/v1/conversions/1/retry"),
        ("POST", "/api/v1/health"),
        ("POST", "/metrics"),
    ];
    let row = |(method, path)| {
        let ask = Ask::new(method, path).auth(Key::Admin);
        (format!("{method} {path}"), ask, Expected::Nowhere(target.nowhere))
    };
    rows.into_iter().map(row).collect()
}

/// Tasks that are not there.
fn unknown_tasks() -> Vec<Row> {
    let mut rows = Vec::new();
    for id in [ID, "1"] {
        for (method, rest) in [("GET", ""), ("POST", "/retry"), ("DELETE", "")] {
            let ask = Ask::new(method, format!("/api/v1/conversions/{id}{rest}")).auth(Key::Admin);
            rows.push((format!("{method} {id}{rest}"), ask, Expected::Error(404, "ERR_NOT_FOUND", "task")));
        }
    }
    rows
}

/// Few wrong headers, since many in a row are turned away for that alone.
pub(super) async fn strangers_learn_nothing(target: &Target) {
    let app = image(target, "v1");
    let known = harbor(&[&app], 0).to_string();
    let unknown = harbor(&[&app.at("unknown.example.com")], 0).to_string();
    let (hook, path) = (Key::Hook.value(), format!("/api/v1/conversions/{ID}"));
    let asks = [
        Ask::event(&known).header("wrong"),
        Ask::event(&unknown).header("wrong"),
        Ask::event("{").header("wrong"),
        Ask::event(&known).header(&hook.to_uppercase()),
        Ask::event(&known).header(hook.trim_start_matches("Bearer ")),
        Ask::get("/api/v1/conversions").header("wrong"),
        Ask::get(&path).header("wrong"),
        Ask::new("DELETE", &path).header("wrong"),
    ];
    for ask in asks {
        let what = format!("{ask:?}");
        let answer = target.ask(ask).await;
        assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{what}: {answer:?}");
        assert!(!answer.body.contains("app") && !answer.body.contains(hook), "{answer:?}");
    }
}

pub(super) async fn metrics_count_what_was_converted(target: &Target) {
    target.push("library/metrics", "v1", 2);
    let converted = harbor(&[&target.pushed("library/metrics", "v1")], 0);
    let broken = harbor(&[&target.push_broken("library/metrics", "v2")], 0);
    let before = counters(target).await;
    target.completed(&target.task(&converted).await).await;
    assert_eq!(target.ended(&target.task(&broken).await).await["status"], "FAILED");
    // A converter may count just after it has ended a task.
    let counted = async || counters(target).await.iter().zip(before).all(|(now, then)| *now > then).then_some(());
    PATIENCE.until(&format!("all of {COUNTERS:?} grow from {before:?}"), counted).await;
}

const COUNTERS: [&str; 3] =
    ["conversion_succeed_total", "conversion_failed_total", "conversion_duration_seconds_count"];

async fn counters(target: &Target) -> [f64; 3] {
    let answer = target.ask(Ask::get("/metrics").auth(Key::Admin)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/openmetrics-text") || kind.starts_with("text/plain"), "{kind}");
    COUNTERS.map(|name| {
        let value = answer.body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {}", answer.body))
    })
}
