//! What the registry remembers of requests.

use accel_test_support::{Fault, Request, Rule};

use crate::{call, send, upload, with_blob};

#[tokio::test]
async fn logs_requests_in_order() {
    let (registry, path) = with_blob(b"0123456789").await;
    registry.rule(Rule::on(Request::BlobHead, Fault::status(500)));
    send(&registry, &format!("GET {path}"), "range: bytes=2-4\r\nauthorization: Basic secret\r\n", b"").await;
    call(&registry, &format!("HEAD {path}")).await;
    let location = upload(&registry).await;
    send(&registry, &format!("PATCH {location}"), "content-range: 0-2\r\n", b"abc").await;
    call(&registry, "POST /v2/r/blobs/uploads/?from=a&mount=b").await;

    let seen = registry.requests();
    let kinds: Vec<_> = seen.iter().map(|seen| (seen.request, seen.status)).collect();
    let expected = [
        (Request::BlobGet, Some(206)),
        (Request::BlobHead, Some(500)),
        (Request::UploadStart, Some(202)),
        (Request::UploadPatch, Some(202)),
        (Request::Mount, Some(400)),
    ];
    assert_eq!(kinds, expected);
    let get = &seen[0];
    assert_eq!((get.method.as_str(), &get.path, get.authorized), ("GET", &path, true));
    assert_eq!((get.range.as_deref(), get.sent_bytes), (Some("bytes=2-4"), 3));
    assert!(get.headers.contains(&"host".to_owned()));
    assert!(!format!("{get:?}").contains("secret"), "a log holds no credentials");
    assert_eq!(seen[1].fault, Some(Fault::status(500)));
    assert_eq!((seen[3].content_range.as_deref(), seen[3].received_bytes), (Some("0-2"), 3));
    assert_eq!((registry.bytes_uploaded(), registry.bytes_downloaded()), (3, 3));

    registry.forget_requests();
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn the_first_rule_that_applies_is_played() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobGet, Fault::status(500)).path("/other"));
    registry.rule(Rule::on(Request::BlobGet, Fault::status(502)).once());
    registry.rule(Rule::on(Request::BlobGet, Fault::status(503)).nth(2));
    for status in [502, 503, 200] {
        assert_eq!(call(&registry, &format!("GET {path}")).await.status(), status);
    }
    assert_eq!(registry.requests_of(Request::BlobGet).len(), 3);
}
