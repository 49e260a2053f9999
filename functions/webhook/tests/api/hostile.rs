//! Bodies and headers that nobody means well with.

use accel_webhook::SyncWait;
use axum::body::Body;
use serde_json::{Value, json};

use crate::app::{ADMIN, App, CONVERSIONS, HOOK, OPEN, post, pushed, request};

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

#[tokio::test]
async fn an_event_cannot_send_accel_anywhere() {
    let hosts = [
        "unknown.example.com",
        "harbor.example.com.evil.example",
        "harbor.example.com:8443",
        "evil.example:443",
        "localhost",
        "localhost:2077",
        "127.0.0.1:80",
        "127.1:80",
        "2130706433:80",
        "0.0.0.0:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "100.100.100.200",
        "evil@harbor.example.com",
        "harbor.example.com@evil.example",
        "harbor.example.com\\@evil.example",
        "harbor.example.com#evil.example",
        "http://harbor.example.com",
        "file://",
        "",
    ];
    for (app, auth) in
        [(App::new(), Some(HOOK)), (App::new(), Some(ADMIN)), (App::with(OPEN, SyncWait::default()), None)]
    {
        for host in hosts {
            for url in [format!("{host}/library/app:v1"), format!("{host}/latest/meta-data/iam:v1")] {
                let answer = app.push(auth, pushed(&[&url])).await;
                assert!([400, 401].contains(&answer.status.as_u16()), "{url}: {answer:?}");
                let among_others = app.push(auth, pushed(&[APP, &url])).await;
                assert!([400, 401].contains(&among_others.status.as_u16()), "{url}: {among_others:?}");
            }
        }
        assert!(app.tasks().await.is_empty());
    }
}

#[tokio::test]
async fn headers_that_prove_nothing_are_401_and_guessing_is_slowed_down() {
    let app = App::new();
    let long = "x".repeat(60_000);
    for header in
        [None, Some(""), Some("wrong"), Some("hook-secre"), Some("hook-secrets"), Some("HOOK-SECRET"), Some(&long)]
    {
        let answer = app.push(header, pushed(&[APP])).await;
        assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{answer:?}");
    }
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(app.push(Some("guess"), pushed(&[APP])).await.status.as_u16());
    }
    assert!(statuses.contains(&429) && statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!(app.tasks().await.is_empty());
    assert!(app.push(Some(HOOK), pushed(&[APP])).await.is_ok(), "who knows the secret is not held up");
}

#[tokio::test]
async fn a_body_of_another_kind_is_400() {
    let app = App::new();
    let body = pushed(&[APP]).to_string();
    for kind in
        ["text/plain", "text/html", "application/xml", "multipart/form-data; boundary=x", "application/jsonp", "x", ""]
    {
        let answer = app.send(post(CONVERSIONS, Some(HOOK), kind, body.clone())).await;
        assert_eq!(answer.status, 400, "{kind}: {answer:?}");
    }
    let none = request("POST", CONVERSIONS, Some(HOOK)).body(Body::from(body)).unwrap();
    let answer = app.send(none).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(app.tasks().await.is_empty());
}
