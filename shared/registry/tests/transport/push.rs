//! What a registry can do wrong while we write.

use std::sync::atomic::{AtomicUsize, Ordering};

use accel_domain::{ErrorClass, Retry};
use accel_image::{Digest, media_type};
use accel_registry::RegistryError;
use bytes::Bytes;

use crate::double::{Asked, Double, Memory, lose_answer, refuse, reply};
use crate::main_path::{pattern, send};

/// Whether this is the `nth` request of its method, counted in `seen`.
fn nth(asked: &Asked, method: &str, nth: usize, seen: &AtomicUsize) -> bool {
    asked.method == method && seen.fetch_add(1, Ordering::SeqCst) + 1 == nth
}

fn upload_of<'a>(asked: &Asked, memory: &'a mut Memory) -> &'a mut Vec<u8> {
    memory.uploads.get_mut(asked.path.rsplit('/').next().unwrap()).unwrap()
}

/// Uploads 1000 bytes in pieces of 100 and looks whether they arrived.
async fn arrives(double: &Double) {
    let bytes = pattern(1000);
    let digest = send(&double.end(), &bytes, 100).await.unwrap();
    assert_eq!(double.memory(|memory| memory.blobs.get(&digest.to_string()).cloned()), Some(bytes));
}

#[tokio::test]
async fn a_broken_patch_goes_on_at_the_servers_offset() {
    for kept in [0, 1, 37, 100] {
        for broken in [1, 4, 10] {
            let seen = AtomicUsize::new(0);
            let double = Double::with_fault(move |asked, memory| {
                if nth(asked, "PATCH", broken, &seen) {
                    upload_of(asked, memory).extend_from_slice(&asked.body[..kept]);
                    lose_answer();
                }
                None
            })
            .await;
            if (kept, broken) == (1, 1) {
                continue; // `0-0` means no byte as well as one: see the next test
            }
            arrives(&double).await;
            let asked_offset = double.lines().iter().filter(|line| line.starts_with("GET")).count();
            assert_eq!(asked_offset, 1);
        }
    }
}

#[tokio::test]
async fn an_offset_that_cannot_be_told_loses_the_upload() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, memory| {
        if nth(asked, "PATCH", 1, &seen) {
            upload_of(asked, memory).push(asked.body[0]);
            lose_answer();
        }
        None
    })
    .await;
    let mut upload = double.end().start_upload().await.unwrap();
    let error = upload.write(pattern(100)).await.unwrap_err();
    assert!(matches!(error, RegistryError::UploadLost { .. }), "{error}");
}

#[tokio::test]
async fn a_patch_that_is_out_of_order_is_put_in_order() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, memory| {
        if nth(asked, "PATCH", 3, &seen) {
            upload_of(asked, memory).extend_from_slice(&asked.body[..50]);
            return Some(refuse(416, "RANGE_INVALID", "out of order"));
        }
        None
    })
    .await;
    arrives(&double).await;
}

#[tokio::test]
async fn a_patch_that_is_taken_in_part_is_completed() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, memory| {
        if nth(asked, "PATCH", 2, &seen) {
            let upload = upload_of(asked, memory);
            upload.extend_from_slice(&asked.body[..30]);
            return Some(reply(202, &[("range", &format!("0-{}", upload.len() - 1))], ""));
        }
        None
    })
    .await;
    arrives(&double).await;
}

#[tokio::test]
async fn an_upload_that_the_server_forgot_is_lost() {
    let forgets: [fn(&Asked) -> bool; 3] = [
        |asked| asked.method == "PATCH" && asked.content_range.as_deref() == Some("100-199"),
        |asked| asked.method == "PUT",
        |asked| asked.method == "GET",
    ];
    for (row, forgets) in forgets.into_iter().enumerate() {
        let double = Double::with_fault(move |asked, memory| {
            if forgets(asked) {
                memory.uploads.clear();
            } else if row == 2 && asked.content_range.as_deref() == Some("100-199") {
                return Some(refuse(503, "UNKNOWN", "a moment"));
            }
            None
        })
        .await;
        let error = send(&double.end(), &pattern(300), 100).await.unwrap_err();
        assert!(matches!(error, RegistryError::UploadLost { .. }), "row {row}: {error}");
        assert_eq!(error.class(), ErrorClass::BACKOFF);
    }
}

#[tokio::test]
async fn bytes_that_arrived_wrongly_lose_the_upload() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, memory| {
        if nth(asked, "PATCH", 1, &seen) {
            upload_of(asked, memory).extend(asked.body.iter().map(|byte| byte ^ 1));
            return Some(reply(202, &[], ""));
        }
        None
    })
    .await;
    let bytes = Bytes::from_static(b"hello");
    let error = send(&double.end(), &bytes, 5).await.unwrap_err();
    assert!(matches!(error, RegistryError::UploadLost { .. }), "{error}");
    send(&double.end(), &bytes, 5).await.unwrap();
    assert_eq!(double.memory(|memory| memory.blobs.get(&Digest::of(&bytes).to_string()).cloned()), Some(bytes));
}

#[tokio::test]
async fn a_closing_answer_that_is_lost_is_looked_up() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, memory| {
        if nth(asked, "PUT", 1, &seen) {
            memory.close(asked, asked.path.rsplit('/').next().unwrap());
            lose_answer();
        }
        None
    })
    .await;
    arrives(&double).await;
    let last = double.log().pop().unwrap();
    assert_eq!(last.method, "HEAD");
}

#[tokio::test]
async fn a_closing_request_that_is_lost_is_sent_again() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, _| nth(asked, "PUT", 1, &seen).then(|| lose_answer())).await;
    arrives(&double).await;
}

#[tokio::test]
async fn an_upload_does_not_leave_the_registry() {
    let other = Double::start().await;
    let location = format!("http://{}/v2/team/app/blobs/uploads/1", other.address);
    for method in ["POST", "PATCH"] {
        let location = location.clone();
        let double = Double::with_fault(move |asked, _| {
            (asked.method == method).then(|| reply(202, &[("location", &location)], ""))
        })
        .await;
        let error = send(&double.end(), &pattern(100), 50).await.unwrap_err();
        assert!(matches!(error, RegistryError::Address { .. }), "{method}: {error}");
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    assert_eq!(other.log().len(), 0);
}

#[tokio::test]
async fn a_cancelled_upload_is_deleted() {
    let double = Double::start().await;
    let mut upload = double.end().start_upload().await.unwrap();
    upload.write(pattern(10)).await.unwrap();
    upload.cancel().await;
    assert!(double.memory(|memory| memory.uploads.is_empty() && memory.blobs.is_empty()));
}

#[tokio::test]
async fn a_manifest_whose_answer_is_lost_is_looked_up() {
    let seen = AtomicUsize::new(0);
    let double = Double::with_fault(move |asked, memory| {
        if nth(asked, "PUT", 1, &seen) {
            memory.answer(asked);
            lose_answer();
        }
        (asked.method == "PUT").then(|| refuse(412, "PRECONDITION", "the tag is immutable"))
    })
    .await;
    let body = Bytes::from(r#"{"schemaVersion":2,"manifests":[]}"#);
    let receipt = double.end().put_manifest("1", media_type::OCI_INDEX, body.clone()).await.unwrap();
    assert_eq!(receipt.digest, Digest::of(&body));
}

#[tokio::test]
async fn a_manifest_that_the_registry_changed_is_an_error() {
    let other = Digest::of(b"other").to_string();
    let double = Double::with_fault(move |_, _| Some(reply(201, &[("docker-content-digest", &other)], ""))).await;
    let error = double.end().put_manifest("1", media_type::OCI_INDEX, Bytes::from("{}")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_subject_that_the_registry_keeps_is_told() {
    let double = Double::with_fault(|_, _| Some(reply(201, &[("oci-subject", "sha256:0")], ""))).await;
    let receipt = double.end().put_manifest("1", media_type::OCI_INDEX, Bytes::from("{}")).await.unwrap();
    assert!(receipt.subject_acknowledged);
}

#[tokio::test]
async fn an_upload_that_the_registry_does_not_close_is_cancelled() {
    let full = |asked: &Asked| (asked.method == "PUT").then(|| refuse(403, "DENIED", "storage resource will exceed"));
    let double = Double::with_fault(move |asked, _| full(asked)).await;
    let error = send(&double.end(), &pattern(300), 100).await.unwrap_err();
    assert!(error.to_string().contains("quota") && !error.is_of_the_blob(), "{error}");
    assert!(double.memory(|memory| memory.uploads.is_empty()));
}

#[tokio::test]
async fn refusals_are_told_in_words_and_asked_once() {
    type Row = (u16, &'static str, &'static str, ErrorClass, &'static str);
    let rows: [Row; 5] = [
        (404, "MANIFEST_BLOB_UNKNOWN", "blob unknown", ErrorClass::BACKOFF, "is not in the registry"),
        (403, "DENIED", "adding 1 MiB of storage resource will exceed", ErrorClass::Permanent, "quota"),
        (412, "PRECONDITION", "tag is immutable", ErrorClass::Permanent, "immutability"),
        (412, "PROJECTPOLICYVIOLATION", "not scanned", ErrorClass::Transient(Retry::ScanPending), "scanned"),
        (400, "MANIFEST_INVALID", "manifest\\u001b[31m invalid", ErrorClass::Permanent, "manifest\\u{1b}[31m invalid"),
    ];
    for (status, code, message, class, words) in rows {
        let double = Double::with_fault(move |_, _| Some(refuse(status, code, message))).await;
        let error = double.end().put_manifest("1.0", media_type::OCI_INDEX, Bytes::from("{}")).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        let expected = format!("PUT manifest 1.0 of {}/team/app: status {status} {code}", double.address);
        let text = error.to_string();
        assert!(text.starts_with(&expected) && text.contains(words), "{text}");
        assert_eq!(matches!(error, RegistryError::ManifestBlobUnknown(_)), code == "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(double.log().len(), 1);
    }
}

#[tokio::test]
async fn a_mount_that_is_not_allowed_is_no_error() {
    for status in [401, 403, 404, 405] {
        let double = Double::with_fault(move |_, _| Some(refuse(status, "DENIED", "no"))).await;
        assert!(!double.end().mount(Digest::of(b"x"), "other/app").await.unwrap(), "{status}");
    }
    let double = Double::with_fault(move |_, _| Some(refuse(503, "UNKNOWN", "a moment"))).await;
    assert!(double.end().mount(Digest::of(b"x"), "other/app").await.is_err());
}
