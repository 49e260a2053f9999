//! OCI layouts as ends: what is written comes back, in a directory and in a tar file, and nothing that is wrong does.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use accel_domain::ErrorClass;
use accel_image::{Descriptor, Digest, Document, media_type};
use accel_registry::{End, Layout, LayoutError, LayoutName, RegistryError};
use bytes::Bytes;
use tempfile::TempDir;

fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 % 251) as u8 ^ (at >> 13) as u8).collect()
}

async fn read_all(end: &End, descriptor: &Descriptor, start: u64) -> Result<Bytes, RegistryError> {
    let mut stream = end.open_blob(descriptor, start).await?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

/// Writes an image of one config and one layer under `tag`; the layer and the manifest.
async fn write_image(end: &End, tag: &str) -> (Descriptor, Bytes) {
    let layer = pattern(1_000_000);
    let mut upload = end.start_upload().await.unwrap();
    for at in (0..layer.len()).step_by(300_000) {
        upload.write(layer.slice(at..layer.len().min(at + 300_000))).await.unwrap();
    }
    upload.finish(Digest::of(&layer)).await.unwrap();
    let layer = Descriptor::of(media_type::OCI_LAYER, &layer);
    let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
    let mut upload = end.start_upload().await.unwrap();
    upload.write(Bytes::from_static(b"{}")).await.unwrap();
    upload.finish(config.digest).await.unwrap();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        media_type::OCI_MANIFEST,
        serde_json::to_string(&config).unwrap(),
        serde_json::to_string(&layer).unwrap()
    );
    let bytes = Bytes::from(text);
    end.put_manifest(tag, media_type::OCI_MANIFEST, bytes.clone()).await.unwrap();
    (layer, bytes)
}

async fn check_image(end: &End, tag: &str, layer: &Descriptor, manifest: &Bytes) {
    let described = Descriptor::of(media_type::OCI_MANIFEST, manifest);
    assert_eq!(end.head_manifest(tag).await.unwrap(), Some(described.clone()));
    for key in [tag.to_owned(), described.digest.to_string()] {
        assert_eq!(end.get_manifest(&key).await.unwrap().bytes, manifest);
    }
    assert_eq!(end.head_manifest("other").await.unwrap(), None);
    assert_eq!(end.has_blob(layer.digest).await.unwrap(), Some(layer.size));
    assert_eq!(end.has_blob(Digest::of(b"other")).await.unwrap(), None);
    assert_eq!(read_all(end, layer, 0).await.unwrap(), pattern(1_000_000));
    assert_eq!(read_all(end, layer, 999_000).await.unwrap(), pattern(1_000_000).slice(999_000..));
    assert_eq!(end.read_range(layer, 7, 600_000).await.unwrap(), pattern(1_000_000).slice(7..600_007));
    assert_eq!(end.get_small_blob(layer, 1_000_000).await.unwrap(), pattern(1_000_000));
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        directory.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_directory_keeps_what_is_written() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("image");
    let layout = Layout::create_directory(&directory).await.unwrap();
    let (layer, manifest) = write_image(&End::Layout(layout.clone()), "1.0").await;
    layout.finish().await.unwrap();
    let read = Layout::open_directory(&directory).await.unwrap();
    check_image(&End::Layout(read.clone()), "1.0", &layer, &manifest).await;
    assert!(read.is_same(&layout) && End::Layout(read).same_registry(&End::Layout(layout)));
    assert_eq!(names(&directory), ["blobs", "index.json", "oci-layout"], "no temporary file stays");
    assert_eq!(std::fs::read_to_string(directory.join("oci-layout")).unwrap(), r#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[tokio::test]
async fn a_second_image_leaves_the_first() {
    let parent = TempDir::new().unwrap();
    let layout = Layout::create_directory(parent.path()).await.unwrap();
    let end = End::Layout(layout);
    let (layer, manifest) = write_image(&end, "1.0").await;
    let again = End::Layout(Layout::create_directory(parent.path()).await.unwrap());
    let index = Bytes::from(format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX));
    again.put_manifest("2.0", media_type::OCI_INDEX, index.clone()).await.unwrap();
    check_image(&again, "1.0", &layer, &manifest).await;
    assert_eq!(again.get_manifest("2.0").await.unwrap().bytes, index);
    again.delete_manifest(Digest::of(&index)).await.unwrap();
    again.delete_manifest(Digest::of(&index)).await.unwrap();
    assert_eq!(again.head_manifest("2.0").await.unwrap(), None);
    check_image(&again, "1.0", &layer, &manifest).await;
}

#[tokio::test]
async fn writers_of_one_layout_do_not_lose_each_others_tags() {
    let parent = TempDir::new().unwrap();
    let layout = Layout::create_directory(parent.path()).await.unwrap();
    let index = Bytes::from(r#"{"schemaVersion":2,"manifests":[]}"#);
    let puts = (0..20).map(|number| {
        let (layout, index) = (layout.clone(), index.clone());
        async move { layout.put_manifest(&format!("t{number}"), media_type::OCI_INDEX, index).await.unwrap() }
    });
    futures::future::join_all(puts).await;
    for number in 0..20 {
        assert!(layout.head_manifest(&format!("t{number}")).await.unwrap().is_some(), "t{number}");
    }
}

#[tokio::test]
async fn an_archive_appears_when_it_is_whole_and_is_the_same_each_time() {
    let parent = TempDir::new().unwrap();
    let mut written = Vec::new();
    for name in ["a.tar", "b.tar"] {
        let file = parent.path().join(name);
        let layout = Layout::create_archive(&file).await.unwrap();
        let (layer, manifest) = write_image(&End::Layout(layout.clone()), "1.0").await;
        assert!(!file.exists());
        layout.finish().await.unwrap();
        drop(layout);
        let read = End::Layout(Layout::open_archive(&file).await.unwrap());
        check_image(&read, "1.0", &layer, &manifest).await;
        let error = read.start_upload().await.err().unwrap();
        assert!(matches!(error, RegistryError::Layout(LayoutError::ReadOnly { .. })), "{error}");
        written.push(std::fs::read(&file).unwrap());
    }
    assert_eq!(written[0], written[1]);
    assert_eq!(names(parent.path()), ["a.tar", "b.tar"], "no temporary directory stays");
}

#[tokio::test]
async fn a_name_opens_what_it_names() {
    let parent = TempDir::new().unwrap();
    for (kind, file) in [("oci", "dir"), ("oci-archive", "x.tar")] {
        let name: LayoutName = format!("{kind}:{}:v1", parent.path().join(file).display()).parse().unwrap();
        assert!(name.open().await.is_err(), "nothing is there yet");
        let layout = name.create().await.unwrap();
        let (layer, manifest) = write_image(&End::Layout(layout.clone()), &name.tag).await;
        layout.finish().await.unwrap();
        check_image(&End::Layout(name.open().await.unwrap()), "v1", &layer, &manifest).await;
    }
}

#[tokio::test]
async fn a_wrong_digest_is_not_kept() {
    let parent = TempDir::new().unwrap();
    let end = End::Layout(Layout::create_directory(parent.path()).await.unwrap());
    let mut upload = end.start_upload().await.unwrap();
    upload.write(Bytes::from_static(b"hellx")).await.unwrap();
    let error = upload.finish(Digest::of(b"hello")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Layout(LayoutError::Mismatch { .. })) && error.is_of_the_blob(), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
    let missing = end.open_blob(&Descriptor::of("x", b"x"), 0).await.map(drop).unwrap_err();
    assert!(missing.is_of_the_blob(), "{missing}");
    let mut upload = end.start_upload().await.unwrap();
    upload.write(Bytes::from_static(b"hello")).await.unwrap();
    upload.cancel().await;
    assert_eq!(names(&parent.path().join("blobs/sha256")), [""; 0]);
    assert_eq!(names(parent.path()), ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test]
async fn a_damaged_blob_has_no_clean_end() {
    let parent = TempDir::new().unwrap();
    let end = End::Layout(Layout::create_directory(parent.path()).await.unwrap());
    let descriptor = Descriptor::of("x", b"hello");
    let file = parent.path().join("blobs/sha256").join(descriptor.digest.hex());
    for damaged in ["hellx", "hell", "hello!"] {
        std::fs::write(&file, damaged).unwrap();
        assert!(read_all(&end, &descriptor, 0).await.is_err(), "{damaged}");
        assert!(end.get_small_blob(&descriptor, 100).await.is_err(), "{damaged}");
    }
    std::fs::write(&file, "hello").unwrap();
    assert_eq!(read_all(&end, &descriptor, 0).await.unwrap(), "hello");
    assert!(end.get_small_blob(&descriptor, 4).await.is_err(), "more than the limit");
    assert!(end.read_range(&descriptor, 3, 3).await.is_err(), "past the end");
}

#[tokio::test]
async fn what_is_no_layout_is_refused_by_name() {
    let parent = TempDir::new().unwrap();
    let path = parent.path();
    assert!(Layout::open_directory(path).await.unwrap_err().to_string().contains("oci-layout"));
    std::fs::write(path.join("file"), "mine").unwrap();
    let error = Layout::create_directory(path).await.unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(Layout::open_directory(path).await.unwrap_err().to_string().contains("version 1"));
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(path.join("index.json"), "[").unwrap();
    let layout = Layout::open_directory(path).await.unwrap();
    assert!(layout.head_manifest("1").await.unwrap_err().to_string().contains("index.json"));
    std::fs::write(path.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    let error = layout.get_manifest("1").await.unwrap_err();
    assert!(error.to_string().contains("holds no manifest `1`, it has no tags"), "{error}");
}

#[tokio::test]
async fn an_archive_that_is_cut_or_no_tar_is_refused() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("x.tar");
    let layout = Layout::create_archive(&file).await.unwrap();
    write_image(&End::Layout(layout.clone()), "1.0").await;
    layout.finish().await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    for bytes in [&whole[..500_000], b"", b"not a tar file", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]] {
        std::fs::write(&file, bytes).unwrap();
        let error = Layout::open_archive(&file).await.unwrap_err();
        assert!(matches!(error, LayoutError::NotALayout { .. }), "{} bytes: {error}", bytes.len());
    }
}

#[tokio::test]
async fn an_archive_may_name_a_blob_only_by_its_digest() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("x.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&file).unwrap());
    let blob = Descriptor::of("x", b"hello");
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    let entries = [
        ("./oci-layout".to_owned(), r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("./index.json".to_owned(), index),
        (format!("./blobs/sha256/{}", blob.digest.hex()), "hello"),
        ("./blobs/sha256/../../etc".to_owned(), "no"),
    ];
    for (name, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.as_mut_bytes()[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, format!("blobs/sha256/{}", Digest::of(b"x").hex()), "/etc/passwd").unwrap();
    builder.into_inner().unwrap();
    let end = End::Layout(Layout::open_archive(&file).await.unwrap());
    assert_eq!(read_all(&end, &blob, 0).await.unwrap(), "hello");
    assert_eq!(end.has_blob(Digest::of(b"x")).await.unwrap(), None);
}

#[tokio::test]
async fn referrers_are_listed_in_a_layout_too() {
    let parent = TempDir::new().unwrap();
    let end = End::Layout(Layout::create_directory(parent.path()).await.unwrap());
    let subject = Digest::of(b"subject");
    for referrer in [&b"one"[..], b"two", b"one"] {
        end.add_referrer_fallback(subject, &Descriptor::of(media_type::OCI_MANIFEST, referrer)).await.unwrap();
    }
    let found = end.get_manifest(&format!("sha256-{}", subject.hex())).await.unwrap().document;
    let Document::Index(index) = found else { panic!("an index") };
    assert_eq!(index.manifests.len(), 2);
}
