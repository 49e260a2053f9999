//! Bodies and headers that nobody means well with.

use axum::body::Body;
use serde_json::{Value, json};

use crate::app::{App, CONVERSIONS, HOOK, post, pushed, request};

const APP: &str = "harbor.example.com/library/app:v1";

#[tokio::test]
async fn bad_bodies_are_400_and_leave_nothing() {
    let app = App::new();
    let resource =
        |value: Value| json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [value] } }).to_string();
    let many: Vec<_> = (0..1000).map(|at| format!("harbor.example.com/library/app:{at}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let rows = [
        ("empty", String::new()),
        ("not JSON", "\u{0}\u{1}".into()),
        ("two values", "{}{}".into()),
        ("deep", "[".repeat(500_000)),
        ("deep objects", r#"{"type":"#.repeat(50_000)),
        ("null", "null".into()),
        ("type null", json!({ "type": null }).to_string()),
        ("type number", json!({ "type": 1 }).to_string()),
        ("resource string", resource(json!("x"))),
        ("url number", resource(json!({ "resource_url": 1 }))),
        ("url null", resource(json!({ "resource_url": null }))),
        ("digest list", resource(json!({ "resource_url": APP, "digest": [] }))),
        ("digest odd", resource(json!({ "resource_url": APP, "digest": "sha256:xyz" }))),
        ("control characters", resource(json!({ "resource_url": "harbor.example.com/library/app:v1\r\nX: y" }))),
        ("userinfo", resource(json!({ "resource_url": "a:b@harbor.example.com/library/app:v1" }))),
        ("escaping path", resource(json!({ "resource_url": "harbor.example.com/../../etc:v1" }))),
        ("1,000 resources", pushed(&many).to_string()),
        ("lone surrogate", r#"{"type":"\ud800"}"#.into()),
    ];
    for (name, body) in rows {
        let answer = app.push(Some(HOOK), body).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert!(answer.body.len() < 1000 && !answer.body.contains('\r'), "{name}: {answer:?}");
    }
    let latin = request("POST", CONVERSIONS, Some(HOOK)).header("content-type", "application/json");
    assert_eq!(app.send(latin.body(Body::from(vec![b'"', 0xff, b'"'])).unwrap()).await.status, 400);
    assert!(app.tasks().await.is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let app = App::new();
    let large = format!("{}{}", pushed(&[APP]), " ".repeat(10 << 20));
    let answer = app.push(Some(HOOK), large).await;
    assert!(answer.is_error(413, "ERR_BODY_TOO_LARGE", "1MiB"), "{answer:?}");
    assert!(app.tasks().await.is_empty());
}

#[tokio::test]
async fn a_header_given_twice_is_no_header() {
    let app = App::new();
    for (first, second) in [(HOOK, HOOK), (HOOK, "wrong"), ("wrong", HOOK)] {
        let twice = request("POST", CONVERSIONS, Some(first)).header("authorization", second);
        let body = pushed(&[APP]).to_string();
        let answer = app.send(twice.header("content-type", "application/json").body(body.into()).unwrap()).await;
        assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_from_a_body() {
    let app = App::new();
    let bodies = ["", "{", r#"{"type":"PULL_ARTIFACT"}"#, include_str!("../../payloads/harbor_push.json")];
    for body in bodies {
        let answer = app.send(post(CONVERSIONS, Some("wrong"), "application/json", body.to_owned())).await;
        assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{body}: {answer:?}");
    }
}
