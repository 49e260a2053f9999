//! What the registry remembers of requests.

use accel_test_support::tar::file;
use accel_test_support::{Fault, ImageBuilder, IndexBuilder, Request, Rule, tar};

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

#[tokio::test]
async fn says_which_parts_a_manifest_lacked_when_it_was_put() {
    let (registry, _) = with_blob(b"").await;
    let layer = tar(&[file("f", b"x")]);
    let image = ImageBuilder::new().layer(&layer).push(registry.content(), "r", Some("1"));
    let index = IndexBuilder::new().image(&image).push(registry.content(), "r", Some("2"));
    let put = |tag: &str| {
        let stored = registry.content().manifest("r", tag).unwrap();
        (format!("PUT /v2/r/manifests/{tag}"), format!("content-type: {}\r\n", stored.media_type), stored.bytes)
    };
    let lost = image.layers[0].digest;
    for (tag, lacked) in [("1", vec![]), ("1", vec![lost.to_string()]), ("2", vec![lost.to_string()])] {
        if !lacked.is_empty() {
            registry.content().remove_blob("r", lost);
        }
        let (line, headers, bytes) = put(tag);
        send(&registry, &line, &headers, &bytes).await;
        assert_eq!(registry.requests().last().unwrap().lacked, lacked, "{tag}");
        assert_eq!(registry.lacking("r", tag), lacked, "{tag}");
    }
    assert_eq!(registry.lacking("r", "nothing"), [""; 0]);
    registry.content().remove_manifest("r", &image.manifest.digest.to_string());
    assert_eq!(registry.lacking("r", &index.digest.to_string()), [image.manifest.digest.to_string()]);
}

#[tokio::test]
async fn a_request_that_is_held_waits_for_its_turn() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobDelete, Fault::Held));
    let line = format!("DELETE {path}");
    let call = call(&registry, &line);
    let turn = async {
        let held = registry.held().await;
        assert_eq!((held.request, &held.path), (Request::BlobDelete, &path));
        assert_eq!(registry.content().blobs("r").len(), 1);
        held.go();
    };
    let (answer, ()) = tokio::join!(call, turn);
    assert_eq!((answer.status(), registry.content().blobs("r").len()), (202, 0));
}
