//! Connections that end early.

use std::io::ErrorKind;

use accel_test_support::{Fault, Request, Rule};

use crate::{call, send, upload, with_blob};

#[tokio::test]
async fn resets_before_the_headers_and_does_nothing() {
    let (registry, path) = with_blob(b"blob").await;
    registry.rule(Rule::on(Request::BlobDelete, Fault::Reset).once());
    let answer = call(&registry, &format!("DELETE {path}")).await;
    assert_eq!((answer.status(), answer.error), (0, Some(ErrorKind::ConnectionReset)));
    assert_eq!(registry.content().blobs("r").len(), 1);
    assert_eq!(call(&registry, &format!("DELETE {path}")).await.status(), 202);
}

#[tokio::test]
async fn loses_the_answer_after_the_work_is_done() {
    let (registry, path) = with_blob(b"blob").await;
    registry.rule(Rule::on(Request::BlobDelete, Fault::AnswerLost));
    let answer = call(&registry, &format!("DELETE {path}")).await;
    assert_eq!((answer.status(), answer.error), (0, Some(ErrorKind::ConnectionReset)));
    assert!(registry.content().blobs("r").is_empty());
}

#[tokio::test]
async fn ends_in_the_middle_of_a_body() {
    for (fault, error) in
        [(Fault::ResetInBody { after: 4 }, Some(ErrorKind::ConnectionReset)), (Fault::ClosedInBody { after: 4 }, None)]
    {
        let (registry, path) = with_blob(b"0123456789").await;
        registry.rule(Rule::on(Request::BlobGet, fault.clone()).once());
        let cut = call(&registry, &format!("GET {path}")).await;
        assert_eq!((cut.status(), cut.body(), cut.error), (200, b"0123".as_slice(), error), "{fault:?}");
        assert_eq!(cut.header("content-length").as_deref(), Some("10"), "more was promised: {fault:?}");
        let whole = call(&registry, &format!("GET {path}")).await;
        assert_eq!((whole.body(), whole.error), (b"0123456789".as_slice(), None));
    }
}

#[tokio::test]
async fn ends_in_the_middle_of_an_upload_and_keeps_what_came() {
    let (registry, _) = with_blob(b"").await;
    let location = upload(&registry).await;
    registry.rule(Rule::on(Request::UploadPatch, Fault::ResetInUpload { after: 1000 }));
    let answer = send(&registry, &format!("PATCH {location}"), "", &[7; 200_000]).await;
    assert_eq!((answer.status(), answer.error), (0, Some(ErrorKind::ConnectionReset)));
    let status = call(&registry, &format!("GET {location}")).await;
    assert_eq!(status.header("range").as_deref(), Some("0-999"));
}

#[tokio::test]
async fn an_end_in_the_body_reaches_readers_of_large_bodies_too() {
    let (registry, path) = with_blob(&[1; 4 << 20]).await;
    registry.rule(Rule::on(Request::BlobGet, Fault::ClosedInBody { after: 3 << 20 }));
    let cut = call(&registry, &format!("GET {path}")).await;
    assert_eq!((cut.body().len(), cut.error), (3 << 20, None));
    assert_eq!(registry.bytes_downloaded(), 3 << 20);
}
