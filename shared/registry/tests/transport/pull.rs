//! What a registry can do wrong while we read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use accel_domain::{ErrorClass, Retry};
use accel_image::{Descriptor, Digest, media_type};
use accel_registry::RegistryError;
use axum::body::Body;
use bytes::Bytes;

use crate::double::{Asked, Double, cut_body, refuse, reply};
use crate::main_path::{pattern, read_all};

const MIB: usize = 1 << 20;

fn is_blob_get(asked: &Asked) -> bool {
    asked.method == "GET" && asked.path.contains("/blobs/sha256:")
}

/// A body that never ends.
fn endless() -> Body {
    let chunk = Bytes::from(vec![b' '; 64 << 10]);
    Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())))
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let bytes = pattern(3 * MIB);
    let served = bytes.clone();
    let double = Double::with_fault(move |asked, _| {
        let start = asked.range_start().unwrap_or(0);
        let left = served.slice(start..);
        let told = format!("bytes {start}-{}/{}", served.len() - 1, served.len());
        let (status, headers) = if start > 0 { (206, vec![("content-range", told.as_str())]) } else { (200, vec![]) };
        let cut = left.len().min(200_000);
        is_blob_get(asked).then(|| cut_body(status, &headers, &left, cut))
    })
    .await;
    let descriptor = Descriptor::of("x", &bytes);
    assert_eq!(read_all(&double.end(), &descriptor, 0).await.unwrap(), bytes);
    let starts: Vec<_> = double.log().iter().map(|asked| asked.range_start().unwrap_or(0)).collect();
    assert!(starts.len() > 10 && starts.is_sorted(), "more breaks than tries, each after progress: {starts:?}");
}

#[tokio::test]
async fn a_server_without_ranges_sends_again_what_is_skipped() {
    let bytes = pattern(MIB);
    let (served, breaks) = (bytes.clone(), AtomicUsize::new(0));
    let double = Double::with_fault(move |asked, _| {
        let cut = match breaks.fetch_add(1, Ordering::SeqCst) {
            0 => 300_000,
            1 => 700_000,
            _ => served.len(),
        };
        is_blob_get(asked).then(|| cut_body(200, &[], &served, cut))
    })
    .await;
    let descriptor = Descriptor::of("x", &bytes);
    assert_eq!(read_all(&double.end(), &descriptor, 0).await.unwrap(), bytes);
    assert_eq!(read_all(&double.end(), &descriptor, 1000).await.unwrap(), bytes.slice(1000..));
    assert_eq!(double.end().read_range(&descriptor, 500_000, 10).await.unwrap(), bytes.slice(500_000..500_010));
}

#[tokio::test]
async fn a_download_without_progress_gives_up() {
    let double = Double::with_fault(|asked, _| {
        let start = asked.range_start().unwrap_or(0);
        let told = format!("bytes {start}-999/1000");
        let status = if start > 0 { 206 } else { 200 };
        Some(cut_body(status, &[("content-range", &told)], &Bytes::from(vec![0; 1000 - start]), 1))
    })
    .await;
    let error = read_all(&double.end(), &Descriptor::new("x", Digest::of(b""), 1000), 0).await.unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::BACKOFF);
    assert_eq!(double.log().len(), 5, "once and four times more");
}

#[tokio::test]
async fn a_wrong_blob_has_no_clean_end() {
    let wrong: [fn() -> Bytes; 3] =
        [|| Bytes::from_static(b"hellx"), || Bytes::from_static(b"hello!"), || Bytes::from_static(b"hell")];
    for body in wrong {
        let double = Double::with_fault(move |_, _| {
            Some(reply(200, &[], Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(body())]))))
        })
        .await;
        let descriptor = Descriptor::of("x", b"hello");
        let end = double.end();
        assert!(read_all(&end, &descriptor, 0).await.is_err(), "{:?}", body());
        assert!(end.get_small_blob(&descriptor, 100).await.is_err(), "{:?}", body());
    }
}

#[tokio::test]
async fn a_digest_mismatch_is_transient_once_and_permanent_twice() {
    let double = Double::with_fault(|_, _| Some(reply(200, &[], "hellx"))).await;
    let (end, descriptor) = (double.end(), Descriptor::of("x", b"hello"));
    assert_eq!(read_all(&end, &descriptor, 0).await.unwrap_err().class(), ErrorClass::BACKOFF);
    let error = read_all(&end, &descriptor, 0).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(error.to_string().contains(&Digest::of(b"hellx").to_string()), "{error}");
}

#[tokio::test]
async fn a_blob_that_reads_right_the_second_time_is_taken() {
    let reads = AtomicUsize::new(0);
    let double = Double::with_fault(move |_, _| {
        Some(reply(200, &[], if reads.fetch_add(1, Ordering::SeqCst) == 0 { "hellx" } else { "hello" }))
    })
    .await;
    assert_eq!(double.end().get_small_blob(&Descriptor::of("x", b"hello"), 9).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_endless_body_is_left_at_its_limit() {
    let double = Double::with_fault(|asked, _| (asked.method == "GET").then(|| reply(200, &[], endless()))).await;
    let (end, descriptor) = (double.end(), Descriptor::of("x", b"hello"));
    assert!(matches!(read_all(&end, &descriptor, 0).await, Err(RegistryError::Mismatch { .. })));
    assert!(matches!(end.get_small_blob(&descriptor, 100).await, Err(RegistryError::Mismatch { .. })));
    assert_eq!(end.read_range(&descriptor, 1, 2).await.unwrap(), "  ");
    let error = end.get_manifest("1").await.unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 4_194_304, .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
}

#[tokio::test]
async fn sizes_are_believed_only_within_limits() {
    let double = Double::start().await;
    let end = double.end();
    let large = Descriptor::new("x", Digest::of(b"x"), 1 << 40);
    assert!(matches!(end.get_small_blob(&large, 100).await, Err(RegistryError::TooLarge { .. })));
    for (offset, length) in [(1 << 40, 1), (u64::MAX, 2), (1, 1 << 40)] {
        assert!(matches!(end.read_range(&large, offset, length).await, Err(RegistryError::OutOfRange { .. })));
    }
    assert!(matches!(end.open_blob(&large, (1 << 40) + 1).await, Err(RegistryError::OutOfRange { .. })));
    assert_eq!(double.log().len(), 0);
}

#[tokio::test]
async fn a_page_instead_of_a_manifest_is_named() {
    let page = "<!doctype html><title>Sign in</title>";
    let double = Double::with_fault(move |_, _| Some(reply(200, &[("content-type", "text/html")], page))).await;
    let error = double.end().get_manifest("1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Document { .. }));
    assert!(error.to_string().contains("text/html"), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert_eq!(double.log().len(), 1);
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
    let served = body.clone();
    let told = Digest::of(b"another").to_string();
    let header = told.clone();
    let double =
        Double::with_fault(move |_, _| Some(reply(200, &[("docker-content-digest", &header)], served.clone()))).await;
    for key in ["1.0", &told] {
        let error = double.end().get_manifest(key).await.unwrap_err();
        assert!(matches!(error, RegistryError::Mismatch { again: true, .. }), "{key}: {error}");
    }
    let own = Digest::of(body.as_bytes()).to_string();
    assert_eq!(double.end().get_manifest(&own).await.unwrap().bytes, body, "what was asked for counts");
}

#[tokio::test]
async fn a_registry_without_head_is_read_instead() {
    let bytes = pattern(5000);
    let double = Double::with_fault(|asked, _| (asked.method == "HEAD").then(|| reply(405, &[], ""))).await;
    let descriptor = double.put_blob(bytes);
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
    let end = double.end();
    end.put_manifest("1", media_type::OCI_INDEX, body.clone().into()).await.unwrap();
    assert_eq!(end.has_blob(descriptor.digest).await.unwrap(), Some(5000));
    assert_eq!(end.has_blob(Digest::of(b"other")).await.unwrap(), None);
    let described = Descriptor::of(media_type::OCI_INDEX, body.as_bytes());
    assert_eq!(end.head_manifest("1").await.unwrap(), Some(described));
    assert_eq!(end.head_manifest("2").await.unwrap(), None);
}

#[tokio::test]
async fn a_registry_that_is_out_of_order_for_a_moment_is_waited_for() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let asked = AtomicUsize::new(0);
        let double = Double::with_fault(move |_, _| {
            (asked.fetch_add(1, Ordering::SeqCst) < 4).then(|| refuse(status, "UNKNOWN", "a moment"))
        })
        .await;
        assert_eq!(double.end().head_manifest("1").await.unwrap(), None, "{status}");
        assert_eq!(double.log().len(), 5);
    }
}

#[tokio::test]
async fn retry_after_is_honoured_in_both_forms_up_to_a_bound() {
    let seconds = |seconds: u64| seconds.to_string();
    let date = |seconds| httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(seconds));
    type Form<'a> = &'a dyn Fn(u64) -> String;
    let rows: [(Form<'_>, u64, bool); 4] =
        [(&seconds, 2, true), (&date, 2, true), (&seconds, 3600, false), (&date, 3600, false)];
    for (form, asked_seconds, waits) in rows {
        let text = form(asked_seconds);
        let (asked, header) = (AtomicUsize::new(0), text.clone());
        let double = Double::with_fault(move |_, _| {
            (asked.fetch_add(1, Ordering::SeqCst) == 0).then(|| reply(429, &[("retry-after", &header)], ""))
        })
        .await;
        let begun = Instant::now();
        let answer = double.end().head_manifest("1").await;
        assert_eq!(answer.is_ok(), waits, "{text}");
        assert!(!waits || begun.elapsed() >= Duration::from_millis(900), "a date has whole seconds only: {text}");
        if let Err(error) = answer {
            let ErrorClass::Transient(Retry::Throttled { after: Some(after) }) = error.class() else {
                panic!("{error}")
            };
            assert!((3590..=3600).contains(&after.as_secs()), "{after:?}");
            assert_eq!(double.log().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_transient() {
    let double = Double::start().await;
    let end = double.end();
    drop(double);
    let error = end.head_manifest("1").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::BACKOFF);
    assert!(error.to_string().contains("refused"), "the cause is told: {error}");
}

#[tokio::test]
async fn a_body_that_stalls_times_out() {
    let double = Double::with_fault(|_, _| {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"hel"))]);
        let stalled = futures::StreamExt::chain(first, futures::stream::pending());
        Some(reply(200, &[], Body::from_stream(stalled)))
    })
    .await;
    let mut settings = double.settings();
    settings.timeouts.idle = Duration::from_millis(50);
    settings.retries.count = 1;
    let end = double.end_with(settings, std::sync::Arc::new(accel_registry::NoCredentials));
    let error = read_all(&end, &Descriptor::of("x", b"hello"), 0).await.unwrap_err();
    assert!(matches!(error, RegistryError::TimedOut { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::BACKOFF);
}

#[tokio::test]
async fn a_project_policy_holds_reading_back_for_a_while() {
    let double = Double::with_fault(|_, _| Some(refuse(412, "PROJECTPOLICYVIOLATION", "not scanned"))).await;
    let end = double.end();
    let head = end.head_manifest("1").await.unwrap_err(); // without a body to say so
    let get = end.get_manifest("1").await.unwrap_err();
    for error in [head, get] {
        assert_eq!(error.class(), ErrorClass::Transient(Retry::ScanPending), "{error}");
    }
    assert_eq!(double.log().len(), 2, "minutes, not seconds");
}
