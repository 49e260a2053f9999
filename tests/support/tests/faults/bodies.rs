//! Bodies that are not what was promised.

use std::time::Duration;

use accel_registry_server::MAX_MANIFEST_BYTES;
use accel_test_support::{Fault, ImageBuilder, Request, Rule};
use tokio::io::AsyncReadExt as _;

use crate::{call, finish, open, send, with_blob};

#[tokio::test]
async fn changes_bytes_and_lengths() {
    let rows: [(Fault, &[u8]); 4] = [
        (Fault::WrongBytes, b"012355678"),
        (Fault::Shorter { by: 2 }, b"0123456"),
        (Fault::Longer { by: 2 }, b"012345678\0\0"),
        (Fault::Slow { piece: 4, pause: Duration::from_millis(1) }, b"012345678"),
    ];
    for (fault, expected) in rows {
        let (registry, path) = with_blob(b"012345678").await;
        registry.rule(Rule::on(Request::BlobGet, fault.clone()));
        let answer = call(&registry, &format!("GET {path}")).await;
        assert_eq!((answer.status(), answer.body(), answer.error), (200, expected, None), "{fault:?}");
        assert_eq!(answer.header("content-length").unwrap(), expected.len().to_string(), "{fault:?}");
    }
}

#[tokio::test]
async fn stalls_until_it_is_released() {
    let (registry, path) = with_blob(b"0123456789").await;
    registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 3 }));
    let mut stream = open(&registry, &format!("GET {path}"), "", b"").await;
    registry.stalled(1).await;
    let mut read = Vec::new();
    while !read.ends_with(b"012") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    let mut byte = [0];
    let more = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await;
    assert!(more.is_err(), "nothing more comes while it is stalled");
    registry.release();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"3456789");
}

#[tokio::test]
async fn hangs_until_it_is_released() {
    let (registry, path) = with_blob(b"x").await;
    registry.rule(Rule::on(Request::BlobHead, Fault::Hang));
    let stream = open(&registry, &format!("HEAD {path}"), "", b"").await;
    registry.stalled(1).await;
    assert_eq!(registry.requests()[0].status, None);
    registry.release();
    assert_eq!(finish(stream).await.status(), 200);
}

#[tokio::test]
async fn never_ends() {
    let (registry, path) = with_blob(b"blob").await;
    registry.rule(Rule::on(Request::BlobGet, Fault::Endless));
    let mut stream = open(&registry, &format!("GET {path}"), "", b"").await;
    let mut some = vec![0; 8 << 20];
    stream.read_exact(&mut some).await.unwrap();
    assert!(!String::from_utf8_lossy(&some[..500]).contains("content-length"));
}

#[tokio::test]
async fn pads_a_manifest_beyond_the_limit() {
    let (registry, _) = with_blob(b"").await;
    ImageBuilder::new().push(registry.content(), "r", Some("t"));
    registry.rule(Rule::on(Request::ManifestGet, Fault::ManifestTooLarge));
    let answer = call(&registry, "GET /v2/r/manifests/t").await;
    assert_eq!(answer.body().len(), MAX_MANIFEST_BYTES + 1);
    assert!(serde_json::from_slice::<serde_json::Value>(answer.body()).is_ok());
}

#[tokio::test]
async fn ignores_ranges() {
    let (registry, path) = with_blob(b"0123456789").await;
    registry.rule(Rule::on(Request::BlobGet, Fault::NoRange).once());
    let range = "range: bytes=5-\r\n";
    let whole = send(&registry, &format!("GET {path}"), range, b"").await;
    assert_eq!((whole.status(), whole.body(), whole.header("accept-ranges")), (200, b"0123456789".as_slice(), None));
    assert_eq!(send(&registry, &format!("GET {path}"), range, b"").await.body(), b"56789");
}
