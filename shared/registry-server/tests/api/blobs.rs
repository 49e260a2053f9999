//! Blobs by digest.

use accel_image::Digest;
use accel_registry_server::Registry;

use crate::{call, send};

#[tokio::test]
async fn serves_a_blob_whole_and_in_parts() {
    let registry = Registry::default();
    let digest = registry.content().put_blob("a/b", "0123456789");
    let path = format!("/v2/a/b/blobs/{digest}");

    let head = call(&registry, &format!("HEAD {path}")).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, "10", 0));
    let whole = call(&registry, &format!("GET {path}")).await;
    assert_eq!((whole.status.as_u16(), whole.body.as_slice()), (200, b"0123456789".as_slice()));
    assert_eq!(whole.header("docker-content-digest"), digest.to_string());
    assert_eq!(whole.header("accept-ranges"), "bytes");

    let part = send(&registry, &format!("GET {path}"), &[("range", "bytes=3-5")], "").await;
    assert_eq!((part.status.as_u16(), part.body.as_slice()), (206, b"345".as_slice()));
    assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 3-5/10", "3"));
    let past = send(&registry, &format!("GET {path}"), &[("range", "bytes=10-")], "").await;
    assert_eq!(past.refusal(), (416, "RANGE_INVALID".to_owned()));
    assert_eq!(past.header("content-range"), "bytes */10");
}

#[tokio::test]
async fn refuses_what_it_does_not_have() {
    let registry = Registry::default();
    let digest = registry.content().put_blob("a", "x");
    let rows = [
        (format!("GET /v2/b/blobs/{digest}"), 404, "BLOB_UNKNOWN"),
        (format!("GET /v2/a/blobs/{}", Digest::of(b"y")), 404, "BLOB_UNKNOWN"),
        ("GET /v2/a/blobs/sha256:00".to_owned(), 400, "DIGEST_INVALID"),
        ("GET /v2/a/blobs/md5:00".to_owned(), 400, "DIGEST_INVALID"),
        (format!("GET /v2/A/blobs/{digest}"), 400, "NAME_INVALID"),
        (format!("POST /v2/a/blobs/{digest}"), 405, "UNSUPPORTED"),
        ("GET /v2/a/what".to_owned(), 405, "UNSUPPORTED"),
    ];
    for (request, status, code) in rows {
        assert_eq!(call(&registry, &request).await.refusal(), (status, code.to_owned()), "{request}");
    }
}

#[tokio::test]
async fn a_deleted_blob_is_gone() {
    let registry = Registry::default();
    let digest = registry.content().put_blob("a", "x");
    assert_eq!(call(&registry, &format!("DELETE /v2/a/blobs/{digest}")).await.status, 202);
    assert_eq!(call(&registry, &format!("HEAD /v2/a/blobs/{digest}")).await.status, 404);
    assert_eq!(call(&registry, &format!("DELETE /v2/a/blobs/{digest}")).await.status, 404);
    assert!(registry.content().blobs("a").is_empty());
}

#[tokio::test]
async fn says_which_api_it_speaks() {
    let registry = Registry::default();
    for path in ["/v2", "/v2/"] {
        let base = call(&registry, &format!("GET {path}")).await;
        assert_eq!((base.status.as_u16(), base.header("docker-distribution-api-version")), (200, "registry/2.0"));
    }
}
