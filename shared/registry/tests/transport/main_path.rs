//! Pull and push when nothing goes wrong.

use std::collections::BTreeSet;

use accel_image::{Descriptor, Digest, media_type};
use accel_registry::{End, RegistryError};
use bytes::Bytes;

use crate::double::{Double, REPOSITORY};

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 % 251) as u8 ^ (at >> 13) as u8).collect()
}

pub(crate) async fn read_all(end: &End, descriptor: &Descriptor, start: u64) -> Result<Bytes, RegistryError> {
    let mut stream = end.open_blob(descriptor, start).await?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await? {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

pub(crate) async fn send(end: &End, bytes: &Bytes, chunk_bytes: usize) -> Result<Digest, RegistryError> {
    let digest = Digest::of(bytes);
    let mut upload = end.start_upload().await?;
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        upload.write(rest.split_to(chunk_bytes.min(rest.len()))).await?;
    }
    upload.finish(digest).await?;
    Ok(digest)
}

#[tokio::test]
async fn a_blob_goes_up_in_chunks_and_comes_back_whole() {
    let double = Double::start().await;
    let end = double.end();
    let bytes = pattern(10_000_000);
    let digest = send(&end, &bytes, 4 << 20).await.unwrap();
    assert_eq!(end.has_blob(digest).await.unwrap(), Some(10_000_000));
    let descriptor = Descriptor::new("x", digest, 10_000_000);
    assert_eq!(read_all(&end, &descriptor, 0).await.unwrap(), bytes);
    assert_eq!(read_all(&end, &descriptor, 9_999_000).await.unwrap(), bytes.slice(9_999_000..));
    assert_eq!(read_all(&end, &descriptor, 10_000_000).await.unwrap(), Bytes::new());
    assert_eq!(end.read_range(&descriptor, 5, 7).await.unwrap(), bytes.slice(5..12));
    let ranges: Vec<_> = double.log().into_iter().filter_map(|asked| asked.content_range).collect();
    assert_eq!(ranges, ["0-4194303", "4194304-8388607", "8388608-9999999"]);
    assert!(double.log().iter().all(|asked| asked.user_agent.starts_with("accel/") && asked.authorization.is_none()));
}

#[tokio::test]
async fn requests_in_a_row_share_a_connection() {
    let double = Double::start().await;
    let end = double.end();
    let digest = send(&end, &pattern(10_000), 1000).await.unwrap();
    read_all(&end, &Descriptor::new("x", digest, 10_000), 0).await.unwrap();
    assert_eq!(end.head_manifest("1").await.unwrap(), None);
    let peers: BTreeSet<_> = double.log().iter().map(|asked| asked.peer).collect();
    assert_eq!((peers.len(), double.log().len()), (1, 14));
}

#[tokio::test]
async fn an_empty_blob_goes_both_ways() {
    let double = Double::start().await;
    let end = double.end();
    let digest = send(&end, &Bytes::new(), 1).await.unwrap();
    let descriptor = Descriptor::new("x", digest, 0);
    assert_eq!(read_all(&end, &descriptor, 0).await.unwrap(), Bytes::new());
    assert_eq!(end.get_small_blob(&descriptor, 10).await.unwrap(), Bytes::new());
}

#[tokio::test]
async fn a_manifest_goes_up_and_comes_back() {
    let double = Double::start().await;
    let end = double.end();
    let config = Bytes::from_static(b"{}");
    let described = Descriptor::of(media_type::OCI_CONFIG, &config);
    let mut upload = end.start_upload().await.unwrap();
    upload.write(config.clone()).await.unwrap();
    upload.finish(described.digest).await.unwrap();

    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[]}}"#,
        media_type::OCI_MANIFEST,
        serde_json::to_string(&described).unwrap()
    );
    let bytes = Bytes::from(text);
    assert_eq!(end.head_manifest("1.0").await.unwrap(), None);
    let receipt = end.put_manifest("1.0", media_type::OCI_MANIFEST, bytes.clone()).await.unwrap();
    assert_eq!((receipt.digest, receipt.subject_acknowledged), (Digest::of(&bytes), false));
    let head = end.head_manifest("1.0").await.unwrap().unwrap();
    assert_eq!(head, Descriptor::of(media_type::OCI_MANIFEST, &bytes));
    for key in ["1.0".to_owned(), receipt.digest.to_string()] {
        assert_eq!(end.get_manifest(&key).await.unwrap().bytes, bytes);
    }
    assert_eq!(end.get_small_blob(&described, 2).await.unwrap(), config);
    end.delete_manifest(receipt.digest).await.unwrap();
    end.delete_manifest(receipt.digest).await.unwrap();
    let gone = end.get_manifest("1.0").await.unwrap_err();
    assert!(matches!(gone, RegistryError::ManifestNotFound(_)), "{gone}");
}

#[tokio::test]
async fn a_blob_is_mounted_or_the_opened_upload_is_cancelled() {
    let double = Double::start().await;
    let end = double.end();
    let there = double.put_blob(&b"there"[..]);
    assert!(end.mount(there.digest, "team/base").await.unwrap());
    assert!(!end.mount(Digest::of(b"not there"), "team/base").await.unwrap());
    let line = format!("DELETE /v2/{REPOSITORY}/blobs/uploads/1");
    assert_eq!(double.lines().last(), Some(&line));
    assert!(double.memory(|memory| memory.uploads.is_empty()));
}

#[tokio::test]
async fn referrers_are_listed_once_under_the_fallback_tag() {
    let double = Double::start().await;
    let end = double.end();
    let subject = Digest::of(b"subject");
    for referrer in [&b"one"[..], b"two", b"one"] {
        let referrer = Descriptor::of(media_type::OCI_MANIFEST, referrer);
        end.add_referrer_fallback(subject, &referrer).await.unwrap();
    }
    let tag = format!("sha256-{}", subject.hex());
    let accel_image::Document::Index(index) = end.get_manifest(&tag).await.unwrap().document else {
        panic!("an index")
    };
    let listed: Vec<_> = index.manifests.iter().map(|descriptor| descriptor.digest).collect();
    assert_eq!(listed, [Digest::of(b"one"), Digest::of(b"two")]);
}
