//! Uploads that do not go on where the client thinks.

use accel_test_support::{Fault, Request, Rule};

use crate::{call, send, upload, with_blob};

#[tokio::test]
async fn loses_a_session() {
    let (registry, _) = with_blob(b"").await;
    let location = upload(&registry).await;
    registry.rule(Rule::on(Request::UploadPatch, Fault::SessionLost).nth(2));
    assert_eq!(send(&registry, &format!("PATCH {location}"), "", b"abc").await.status(), 202);
    let lost = send(&registry, &format!("PATCH {location}"), "", b"def").await;
    assert_eq!(lost.status(), 404);
    assert!(String::from_utf8_lossy(lost.body()).contains("BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(registry.content().uploads_open(), 0);
}

#[tokio::test]
async fn keeps_part_of_a_chunk() {
    for status in [202, 416] {
        let (registry, _) = with_blob(b"").await;
        let location = upload(&registry).await;
        registry.rule(Rule::on(Request::UploadPatch, Fault::KeepsPart { bytes: 4, status }).once());
        let range = "content-range: 0-9\r\n";
        let part = send(&registry, &format!("PATCH {location}"), range, b"0123456789").await;
        assert_eq!((part.status(), part.header("range").as_deref()), (status, Some("0-3")));
        assert_eq!(part.header("location"), Some(location.clone()));
        let rest = send(&registry, &format!("PATCH {location}"), "content-range: 4-9\r\n", b"456789").await;
        assert_eq!((rest.status(), rest.header("range").as_deref()), (202, Some("0-9")));
    }
}

#[tokio::test]
async fn a_refused_chunk_is_read_to_its_end() {
    let (registry, _) = with_blob(b"").await;
    let location = upload(&registry).await;
    registry.rule(Rule::on(Request::UploadPatch, Fault::status(503)));
    let refused = send(&registry, &format!("PATCH {location}"), "", &vec![1; 4 << 20]).await;
    assert_eq!((refused.status(), refused.error), (503, None));
    assert_eq!(call(&registry, &format!("GET {location}")).await.header("range").as_deref(), Some("0-0"));
}
