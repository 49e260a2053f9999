//! What is pushed, and when: a reader never sees a tag whose parts are missing.

use accel_test_support::{ImageBuilder, IndexBuilder, Request, Seen};

use crate::picture::{image, small};
use crate::stage::{APP, Stage};

fn is_tag(seen: &Seen) -> bool {
    seen.request == Request::ManifestPut && !seen.path.contains("sha256:")
}

#[tokio::test]
async fn blobs_config_manifests_index_and_tag_are_put_in_this_order() {
    let stage = Stage::new().await;
    let content = stage.content();
    let one = ImageBuilder::new().layer(&small(1)).push(content, APP, None);
    let other = ImageBuilder::new().platform("linux/arm64").layer(&small(2)).push(content, APP, None);
    IndexBuilder::new().image(&one).image(&other).push(content, APP, Some("1"));
    stage.convert().await;
    let index = stage.index(APP, "1-esgz");
    let put = stage.changes();
    let position = |text: &str| put.iter().position(|seen| seen.path.contains(text) && seen.method == "PUT").unwrap();
    let mut manifests = Vec::new();
    for entry in &index.manifests {
        let manifest = stage.manifest(APP, &entry.digest.to_string());
        let config = position(&manifest.config.digest.hex());
        let layers = manifest.layers.iter().map(|layer| position(&layer.digest.hex()));
        assert!(layers.into_iter().all(|layer| layer < config), "{put:#?}");
        manifests.push(position(&entry.digest.hex()));
        assert!(config < manifests[manifests.len() - 1]);
    }
    let tags: Vec<_> = put.iter().enumerate().filter(|(_, seen)| is_tag(seen)).collect();
    assert_eq!(tags.len(), 1, "the index is put once, under its tag");
    assert!(tags[0].1.path.ends_with("/library/app/manifests/1-esgz"));
    assert!(manifests.iter().all(|manifest| *manifest < tags[0].0));
    assert_eq!(tags[0].0, put.len() - 1, "nothing comes after the tag");
}

#[tokio::test]
async fn the_source_tag_is_looked_at_before_and_after_the_target_tag_moves() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    let seen = stage.registry.requests();
    let moved = seen.iter().position(is_tag).unwrap();
    let looks = |seen: &[Seen]| {
        let look = |seen: &&Seen| seen.request == Request::ManifestHead && seen.path.ends_with("/manifests/1");
        seen.iter().filter(look).count()
    };
    let before = seen[..moved].iter().rposition(|seen| seen.method != "GET" && seen.method != "HEAD").unwrap();
    assert_eq!((looks(&seen[before..moved]), looks(&seen[moved + 1..])), (1, 1));
}

#[tokio::test]
async fn an_upload_is_closed_only_after_the_source_has_proved_right() {
    let stage = Stage::new().await;
    let mut layer = accel_test_support::image::Layer::pack(
        &small(1),
        accel_test_support::image::Compression::Gzip,
        accel_test_support::image::Dialect::Oci,
    );
    layer.diff_id = accel_image::Digest::of(b"something else");
    ImageBuilder::new().with(layer).push(stage.content(), APP, Some("1"));
    let task = stage.run(stage.task()).await;
    assert!(task.reason.contains("diff id"), "{}", task.reason);
    assert_eq!(stage.count(Request::UploadPut) + stage.count(Request::ManifestPut), 0);
    assert_eq!((stage.count(Request::UploadStart), stage.count(Request::UploadDelete)), (1, 1));
}
