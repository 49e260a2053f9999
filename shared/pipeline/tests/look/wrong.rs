//! Targets that are wrong, each in one way, and what is said of it.

use accel_domain::ErrorClass;
use accel_driver_estargz::{TOC_DIGEST, UNCOMPRESSED_SIZE};
use accel_image::{Digest, media_type};
use accel_pipeline::{VerifyError, VerifyOptions};
use accel_stream::Limits;
use accel_test_support::image::Layer;
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink};
use accel_test_support::{Entry, Fault, ImageBuilder, IndexBuilder, Request, Rule, nasty_tar, tar};
use serde_json::json;

use crate::stage::{APP, Stage, converted, marked, plain};

fn layer() -> Vec<Entry> {
    vec![
        dir("d/"),
        file("d/f", b"content").xattr("user.a", b"1"),
        hardlink("d/h", "d/f"),
        symlink("s", "d/f"),
        char_device("null", 1, 3),
        file("empty", b""),
    ]
}

/// Pushes a source with [`layer`] as tag 1, and a target with `entries` as tag 2; what is said of the target.
async fn differences(entries: &[Entry]) -> Vec<String> {
    let stage = Stage::new().await;
    let source = ImageBuilder::new().layer(&tar(&layer())).push(stage.content(), APP, Some("1"));
    let target = ImageBuilder::new().with(converted(&tar(entries)));
    marked(target, source.manifest.digest).push(stage.content(), APP, Some("2"));
    stage.verify("1", "2").await.differences
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_between_files_is_named() {
    const OTHER: &str = "the source has other content, metadata or another link target";
    let same = differences(&layer()).await;
    assert_eq!(same, Vec::<String>::new());
    let rows: [(usize, Entry, &str); 12] = [
        (1, file("d/f", b"CONTENT").xattr("user.a", b"1"), "d/f"),
        (1, file("d/f", b"content").xattr("user.a", b"2"), "d/f"),
        (1, file("d/f", b"content"), "d/f"),
        (5, file("empty", b"no more"), "empty"),
        (5, file("empty", b"").mode(0o4755), "empty"),
        (5, file("empty", b"").uid(1), "empty"),
        (5, file("empty", b"").gid(1), "empty"),
        (5, file("empty", b"").mtime(0), "empty"),
        (5, file("empty", b"").nanos(1), "empty"),
        (5, dir("empty"), "empty"),
        (3, symlink("s", "d/g"), "s"),
        (4, char_device("null", 1, 5), "null"),
    ];
    for (at, entry, name) in rows {
        let mut entries = layer();
        entries[at] = entry;
        let found = differences(&entries).await;
        assert!(found.contains(&format!("linux/amd64, layer 1: {name}: {OTHER}")), "{name}: {found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_extra_files_are_named() {
    let mut entries = layer();
    entries.remove(3);
    entries.retain(|entry| *entry != layer()[5]);
    entries.push(file("evil", b"x"));
    assert_eq!(
        differences(&entries).await,
        [
            "linux/amd64, layer 1: evil: the source does not have it",
            "linux/amd64, layer 1: s: the target does not have it",
            "linux/amd64, layer 1: empty: the target does not have it",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link_to_another_version_of_a_file_is_a_difference() {
    let stage = Stage::new().await;
    let version = |content: &str| file("a", content);
    let source = tar(&[version("old"), hardlink("h", "a"), version("new")]);
    let target = converted(&tar(&[version("new"), hardlink("h", "a")]));
    ImageBuilder::new().layer(&source).push(stage.content(), APP, Some("1"));
    ImageBuilder::new().with(target).push(stage.content(), APP, Some("2"));
    let report = stage.verify("1", "2").await;
    assert_eq!(report.differences.len(), 1, "{:?}", report.differences);
    assert!(report.differences[0].contains("layer 1: h: "));
    assert!(!report.marked);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_differences_are_told_and_all_are_counted() {
    let stage = Stage::new().await;
    let entries: Vec<Entry> = (0..30).map(|at| file(format!("{at}"), b"x")).collect();
    ImageBuilder::new().layer(&tar(&entries)).layer(&tar(&[])).push(stage.content(), APP, Some("1"));
    let target = ImageBuilder::new().with(converted(&tar(&[]))).with(converted(&tar(&entries[..5])));
    target.push(stage.content(), APP, Some("2"));
    let report = stage.verify("1", "2").await;
    assert_eq!((report.differences.len(), report.differences_found), (20, 35));
    assert!(!report.is_right());
}

/// The driver never writes such a layer: it is put together from one whose tar is in another order.
#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link_before_its_target_is_a_difference() {
    let stage = Stage::new().await;
    let entries = [file("x", b"1"), file("y", b"2"), hardlink("h", "x")];
    ImageBuilder::new().layer(&tar(&entries)).push(stage.content(), APP, Some("1"));
    let target = ImageBuilder::new().with(converted(&tar(&[file("y", b"2"), hardlink("h", "y")])));
    target.push(stage.content(), APP, Some("2"));
    let found = stage.verify("1", "2").await.differences;
    assert!(found.iter().any(|found| found.contains("layer 1: h: ")), "{found:?}");
}

/// Changes one layer of a right target.
async fn with_layer(edit: impl FnOnce(&mut Layer)) -> Vec<String> {
    let stage = Stage::new().await;
    let source = ImageBuilder::new().layer(&nasty_tar()).push(stage.content(), APP, Some("1"));
    let mut layer = converted(&nasty_tar());
    edit(&mut layer);
    marked(ImageBuilder::new().with(layer), source.manifest.digest).push(stage.content(), APP, Some("2"));
    stage.verify("1", "2").await.differences
}

fn annotate(layer: &mut Layer, key: &str, value: &str) {
    layer.descriptor.annotations.insert(key.to_owned(), value.to_owned());
}

/// Other bytes for a layer, with a descriptor that fits.
fn repack(layer: &mut Layer, edit: impl FnOnce(&mut Vec<u8>)) {
    let blob = layer.blob.as_mut().unwrap();
    edit(blob);
    layer.descriptor.digest = Digest::of(blob);
    layer.descriptor.size = blob.len() as u64;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_thing_about_a_layer_is_named() {
    type Edit = fn(&mut Layer);
    let rows: [(&str, Edit); 12] = [
        ("its TOC digest is not what", |layer| annotate(layer, TOC_DIGEST, &Digest::of(b"").to_string())),
        ("annotation `containerd.io/snapshot/stargz/toc.digest`", |layer| annotate(layer, TOC_DIGEST, "sha256:0")),
        ("has no annotation", |layer| drop(layer.descriptor.annotations.remove(TOC_DIGEST))),
        ("its uncompressed size is not", |layer| annotate(layer, UNCOMPRESSED_SIZE, "1")),
        ("its diff id is not what", |layer| layer.diff_id = Digest::of(b"")),
        ("is of type", |layer| layer.descriptor.media_type = media_type::DOCKER_LAYER_GZIP.to_owned()),
        ("the footer is wrong: its magic", |layer| repack(layer, |blob| blob.push(0))),
        ("the footer is wrong: its magic", |layer| repack(layer, |blob| drop(blob.split_off(blob.len() - 51)))),
        ("shorter than a footer", |layer| repack(layer, |blob| blob.truncate(50))),
        ("the offset is not hexadecimal", |layer| {
            let at = layer.blob.as_ref().unwrap().len() - 30;
            repack(layer, |blob| blob[at] = b'x');
        }),
        ("layer 1: ", |layer| repack(layer, |blob| blob[2000] ^= 0x10)),
        ("layer 1: ", |layer| {
            repack(layer, |blob| {
                let at = blob.len() - 3000;
                blob[at] ^= 1;
            });
        }),
    ];
    assert_eq!(with_layer(|_| ()).await, Vec::<String>::new());
    for (expected, edit) in rows {
        let found = with_layer(edit).await;
        assert_eq!(found.len(), 1, "{found:?} instead of {expected}");
        assert!(found[0].contains(expected), "{found:?} instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_thing_about_the_documents_is_named() {
    type Edit = fn(&Stage);
    let rows: [(&str, Edit); 10] = [
        ("other annotations", |stage| {
            let key = "containerd.io/snapshot/nydus-source-digest";
            stage.edit_manifest(|manifest| manifest["annotations"][key] = json!("of no Nydus image"));
        }),
        ("differs in more than diff ids", |stage| {
            stage.edit_config(|config| config["config"]["Cmd"] = json!(["/evil"]))
        }),
        ("differs in more than diff ids", |stage| stage.edit_config(|config| config["x"] = json!(1))),
        ("other annotations", |stage| stage.edit_manifest(|manifest| manifest["annotations"]["x"] = json!("y"))),
        ("other members", |stage| stage.edit_manifest(|manifest| manifest["artifactType"] = json!("x/y"))),
        ("the target was made of", |stage| {
            let other = json!(Digest::of(b"other"));
            stage.edit_manifest(|manifest| manifest["annotations"]["io.accel.source.digest"] = other);
        }),
        ("the configuration is not of OCI's type", |stage| {
            stage.edit_manifest(|manifest| manifest["config"]["mediaType"] = json!(media_type::DOCKER_CONFIG));
        }),
        ("another number of layers", |stage| {
            let id = stage.config("2")["rootfs"]["diff_ids"][0].clone();
            stage.edit_config(|config| config["rootfs"]["diff_ids"] = json!([id, id, id]));
            let layer = stage.document("2")["layers"][0].clone();
            stage.edit_manifest(|manifest| manifest["layers"] = json!([layer, layer, layer]));
        }),
        ("gives the same layer another diff id", |stage| {
            stage.edit_config(|config| config["rootfs"]["diff_ids"][1] = json!(Digest::of(b"other")));
        }),
        ("a media type that is not OCI's", |stage| {
            stage.edit_manifest(|manifest| manifest["layers"][1]["mediaType"] = json!(media_type::DOCKER_LAYER_GZIP));
        }),
    ];
    for (expected, edit) in rows {
        let stage = Stage::new().await;
        let (one, two) = (tar(&layer()), tar(&[file("kept", b"x")]));
        let source = ImageBuilder::new().layer(&one).layer(&two).push(stage.content(), APP, Some("1"));
        let target = ImageBuilder::new().with(converted(&one)).with(plain(&two));
        marked(target, source.manifest.digest).push(stage.content(), APP, Some("2"));
        assert_eq!(stage.verify("1", "2").await.differences, Vec::<String>::new());
        edit(&stage);
        let found = stage.verify("1", "2").await.differences;
        assert!(found.iter().any(|found| found.contains(expected)), "{found:?} instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_thing_about_an_index_is_named() {
    let stage = Stage::new().await;
    let content = stage.content();
    let tars = [tar(&layer()), tar(&[file("b", b"x")])];
    let platforms = ["linux/amd64", "linux/arm64"];
    let [source, target] = [plain, converted].map(|wrap: fn(&[u8]) -> Layer| {
        [0, 1].map(|at| ImageBuilder::new().platform(platforms[at]).with(wrap(&tars[at])).push(content, APP, None))
    });
    IndexBuilder::new().image(&source[0]).image(&source[1]).push(content, APP, Some("1"));
    let index = |images: &[usize]| images.iter().fold(IndexBuilder::new(), |index, at| index.image(&target[*at]));
    index(&[0, 1]).push(content, APP, Some("right"));
    assert_eq!(stage.verify("1", "right").await.differences, Vec::<String>::new());

    index(&[1, 0]).push(content, APP, Some("order"));
    index(&[0, 1]).docker().push(content, APP, Some("docker"));
    index(&[0, 1]).annotation("x", "y").push(content, APP, Some("annotated"));
    let mut entry = target[1].manifest.clone();
    entry.annotations.insert("x".to_owned(), "y".to_owned());
    index(&[0]).entry(entry).push(content, APP, Some("entry"));
    let mut entry = target[1].manifest.clone();
    entry.other.insert("data".to_owned(), json!("e30="));
    index(&[0]).entry(entry).push(content, APP, Some("data"));
    index(&[0, 1]).attestation(content, APP, &source[0]).push(content, APP, Some("stale"));
    index(&[0, 1, 1]).push(content, APP, Some("more"));
    let single = ImageBuilder::new().with(converted(&tars[0]));
    single.push(content, APP, Some("single"));
    let rows = [
        ("order", "in another order"),
        ("docker", "the index is of type"),
        ("annotated", "the index has other annotations"),
        ("entry", "linux/arm64: the index's entry"),
        ("data", "linux/arm64: the index's entry"),
        ("stale", "attests no image of the target"),
        ("more", "linux/arm64: the source has no such image"),
        ("single", "the source is an index, the target is not"),
    ];
    for (tag, expected) in rows {
        let found = stage.verify("1", tag).await.differences;
        assert!(found.iter().any(|found| found.contains(expected)), "{tag}: {found:?} instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_an_error_and_no_difference() {
    let stage = Stage::new().await;
    let source = ImageBuilder::new().layer(&nasty_tar()).push(stage.content(), APP, Some("1"));
    let target = ImageBuilder::new().with(converted(&nasty_tar())).push(stage.content(), APP, Some("2"));
    let options = VerifyOptions::default();
    let error = stage.try_verify("1", "none", &options).await.unwrap_err();
    assert!(matches!(error, VerifyError::Image { side: "target", .. }), "{error}");

    let limits = Limits { entries: 10, ..Limits::default() };
    let error = stage.try_verify("1", "2", &VerifyOptions { limits, ..options.clone() }).await.unwrap_err();
    assert!(matches!(error, VerifyError::Layer(_)), "{error}");
    assert!(matches!(error.class(), ErrorClass::Permanent));

    for lost in [source.layers[0].digest, target.layers[0].digest] {
        let blob = stage.content().blob(APP, lost).unwrap();
        stage.content().remove_blob(APP, lost);
        let error = stage.try_verify("1", "2", &options).await.unwrap_err();
        assert!(matches!(error, VerifyError::Layer(_)), "{error}");
        stage.content().put_blob(APP, blob);
    }
    assert!(stage.verify("1", "2").await.is_right());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_has_other_bytes_than_it_says_is_a_difference() {
    let stage = Stage::new().await;
    ImageBuilder::new().layer(&nasty_tar()).push(stage.content(), APP, Some("1"));
    let target = ImageBuilder::new().with(converted(&nasty_tar())).push(stage.content(), APP, Some("2"));
    let rule = |digest: &Digest| Rule::on(Request::BlobGet, Fault::WrongBytes).path(digest);
    // The first two requests are for the footer and the TOC.
    stage.registry.rule(rule(&target.layers[0].digest).from(2));
    let report = stage.verify("1", "2").await;
    assert!(!report.is_right(), "{report:?}");
    assert!(report.differences[0].contains("layer 1: "), "{:?}", report.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_downloads_are_taken_up_again() {
    let stage = Stage::new().await;
    ImageBuilder::new().layer(&nasty_tar()).push(stage.content(), APP, Some("1"));
    ImageBuilder::new().with(converted(&nasty_tar())).push(stage.content(), APP, Some("2"));
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::ResetInBody { after: 100_000 }).times(2));
    assert!(stage.verify("1", "2").await.is_right());
}
