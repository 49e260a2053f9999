//! Uploads and mounts.

use accel_image::Digest;
use accel_registry_server::{Content, Registry};
use axum::body::Body;
use futures::stream;

use crate::{Answer, call, send};

async fn start(registry: &Registry) -> String {
    let started = call(registry, "POST /v2/r/blobs/uploads/").await;
    assert_eq!((started.status.as_u16(), started.header("range")), (202, "0-0"));
    started.header("location").to_owned()
}

async fn patch(registry: &Registry, location: &str, range: &str, body: &'static str) -> Answer {
    let headers = [("content-range", range)];
    send(registry, &format!("PATCH {location}"), if range.is_empty() { &[] } else { &headers }, body).await
}

#[tokio::test]
async fn takes_a_blob_in_chunks() {
    let registry = Registry::default();
    let location = start(&registry).await;
    let first = patch(&registry, &location, "", "abc").await;
    assert_eq!((first.status.as_u16(), first.header("range")), (202, "0-2"));
    assert_eq!(patch(&registry, first.header("location"), "3-5", "def").await.status, 202);

    let status = call(&registry, &format!("GET {location}")).await;
    assert_eq!((status.status.as_u16(), status.header("range")), (204, "0-5"));
    let digest = Digest::of(b"abcdefgh");
    let closed = send(&registry, &format!("PUT {location}?digest={digest}"), &[("content-range", "6-7")], "gh").await;
    assert_eq!(closed.status, 201);
    assert_eq!(closed.header("location"), format!("/v2/r/blobs/{digest}"));
    assert_eq!(closed.header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.content().blob("r", digest).unwrap(), "abcdefgh");
    assert_eq!(registry.content().uploads_open(), 0);
    assert_eq!(call(&registry, &format!("GET {location}")).await.refusal(), (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn takes_a_blob_whole_in_every_way() {
    let registry = Registry::default();
    let digest = Digest::of(b"whole");
    let post = send(&registry, &format!("POST /v2/post/blobs/uploads/?digest={digest}"), &[], "whole").await;
    assert_eq!((post.status.as_u16(), post.header("location")), (201, format!("/v2/post/blobs/{digest}").as_str()));
    let location = start(&registry).await;
    assert_eq!(send(&registry, &format!("PUT {location}?digest={digest}"), &[], "whole").await.status, 201);
    let encoded = digest.to_string().replace(':', "%3A");
    let location = start(&registry).await;
    patch(&registry, &location, "", "whole").await;
    assert_eq!(call(&registry, &format!("PUT {location}?digest={encoded}")).await.status, 201);
    assert_eq!(registry.content().blobs("post"), registry.content().blobs("r"));
}

#[tokio::test]
async fn refuses_a_chunk_at_another_offset() {
    let registry = Registry::default();
    let location = start(&registry).await;
    patch(&registry, &location, "0-2", "abc").await;
    for range in ["0-2", "2-4", "4-6", "9-11"] {
        let refused = patch(&registry, &location, range, "xyz").await;
        assert_eq!(refused.refusal(), (416, "BLOB_UPLOAD_INVALID".to_owned()), "{range}");
        assert_eq!((refused.header("range"), refused.header("location")), ("0-2", location.as_str()), "{range}");
    }
    for range in ["nonsense", "-1", "3-"] {
        assert_eq!(patch(&registry, &location, range, "xyz").await.status, 400, "{range}");
    }
    let short = [("content-range", "3-9"), ("content-length", "3")];
    assert_eq!(send(&registry, &format!("PATCH {location}"), &short, "xyz").await.status, 400);
    assert_eq!(call(&registry, &format!("GET {location}")).await.header("range"), "0-2");
}

#[tokio::test]
async fn keeps_what_arrived_before_the_connection_broke() {
    let registry = Registry::default();
    let location = start(&registry).await;
    let broken = Body::from_stream(stream::iter([Ok("abc"), Err(std::io::Error::other("reset"))]));
    assert_eq!(send(&registry, &format!("PATCH {location}"), &[], broken).await.status, 400);
    assert_eq!(call(&registry, &format!("GET {location}")).await.header("range"), "0-2");
    let digest = Digest::of(b"abcdef");
    let closed = send(&registry, &format!("PUT {location}?digest={digest}"), &[("content-range", "3-5")], "def").await;
    assert_eq!(closed.status, 201);
}

#[tokio::test]
async fn throws_away_content_with_another_digest() {
    let registry = Registry::default();
    let location = start(&registry).await;
    let other = Digest::of(b"other");
    let refused = send(&registry, &format!("PUT {location}?digest={other}"), &[], "abc").await;
    assert_eq!(refused.refusal(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!((registry.content().uploads_open(), registry.content().blobs("r").len()), (0, 0));
    let refused = send(&registry, &format!("POST /v2/r/blobs/uploads/?digest={other}"), &[], "abc").await;
    assert_eq!((refused.status.as_u16(), registry.content().uploads_open()), (400, 0));
}

#[tokio::test]
async fn a_session_can_be_cancelled_and_belongs_to_its_repository() {
    let registry = Registry::default();
    let location = start(&registry).await;
    let elsewhere = location.replace("/v2/r/", "/v2/s/");
    assert_eq!(call(&registry, &format!("GET {elsewhere}")).await.status, 404);
    assert_eq!(call(&registry, &format!("DELETE {elsewhere}")).await.status, 404);
    assert_eq!(call(&registry, &format!("DELETE {location}")).await.status, 204);
    assert_eq!(patch(&registry, &location, "", "abc").await.status, 404);
    assert_eq!(registry.content().uploads_open(), 0);
}

#[tokio::test]
async fn mounts_what_another_repository_has() {
    let registry = Registry::default();
    let digest = registry.content().put_blob("from", "x");
    let mounted = call(&registry, &format!("POST /v2/to/blobs/uploads/?mount={digest}&from=from")).await;
    assert_eq!((mounted.status.as_u16(), mounted.header("location")), (201, format!("/v2/to/blobs/{digest}").as_str()));
    assert_eq!(registry.content().blobs("to"), [digest]);
    for query in [format!("mount={}&from=from", Digest::of(b"y")), format!("mount={digest}&from=other")] {
        assert_eq!(call(&registry, &format!("POST /v2/third/blobs/uploads/?{query}")).await.status, 202, "{query}");
    }
}

#[tokio::test]
async fn a_full_registry_says_so() {
    let registry = Registry::new(Content::with_limit(4));
    let location = start(&registry).await;
    assert_eq!(patch(&registry, &location, "", "abc").await.status, 202);
    assert_eq!(patch(&registry, &location, "", "def").await.refusal(), (403, "DENIED".to_owned()));
    call(&registry, &format!("DELETE {location}")).await;
    let location = start(&registry).await;
    assert_eq!(patch(&registry, &location, "", "def").await.status, 202);
}
