//! Layers: each done once, remembered, mounted, kept as they are, and made of the same bytes everywhere.

use accel_image::media_type;
use accel_test_support::image::{Compression, Dialect, Layer};
use accel_test_support::tar::{nasty_entries, replaced_tar};
use accel_test_support::{Fault, ImageBuilder, Request, Rule, nasty_tar, sparse_tar, tar};

use crate::nydus::BOOTSTRAP;
use crate::picture::{TOC_DIGEST, assert_whole, image, large, small};
use crate::stage::{APP, Stage, default_output};

#[tokio::test]
async fn c23_a_layer_in_two_images_is_converted_once() {
    let stage = Stage::new().await;
    let base = small(1);
    ImageBuilder::new().layer(&base).layer(&small(2)).push(stage.content(), APP, Some("1"));
    stage.convert().await;
    ImageBuilder::new().layer(&base).layer(&small(3)).push(stage.content(), APP, Some("2"));
    ImageBuilder::new().layer(&base).layer(&small(4)).push(stage.content(), "library/other", Some("1"));
    for (source, reused, mounted) in [("library/app:2", 1, 0), ("library/other:1", 0, 1)] {
        stage.registry.forget_requests();
        let task = stage.run(stage.task_of(source, &format!("{source}-esgz"), default_output())).await;
        let progress = task.progress;
        let ends = (progress.layers_converted, progress.layers_reused, progress.layers_mounted);
        assert_eq!((task.reason.as_str(), ends), ("", (1, reused, mounted)), "{source}");
        let (repository, tag) = source.rsplit_once(':').unwrap();
        stage.assert_same_files(repository, tag, &format!("{tag}-esgz"));
        let own = stage.manifest(repository, tag);
        let configs_and_layers = [own.config.digest, own.layers[1].digest].map(|digest| digest.to_string());
        let got = stage.registry.requests_of(Request::BlobGet);
        assert!(got.iter().all(|seen| configs_and_layers.iter().any(|digest| seen.path.contains(digest))), "{got:#?}");
    }
}

#[tokio::test]
async fn c23_a_new_tag_on_the_same_layers_moves_no_layer() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    image().annotation("rebuilt", "today").push(stage.content(), APP, Some("2"));
    stage.registry.forget_requests();
    let task = stage.run(stage.task_of("library/app:2", "library/app:2-esgz", default_output())).await;
    assert_eq!((task.progress.layers_total, task.progress.layers_reused), (2, 2));
    assert_eq!((task.progress.bytes_read, task.progress.bytes_written), (0, 0));
    assert_eq!((stage.count(Request::BlobGet), stage.count(Request::UploadPatch)), (1, 0), "the configuration alone");
    stage.assert_same_files(APP, "2", "2-esgz");
}

#[tokio::test]
async fn c24_digests_are_the_same_on_one_two_and_eight_threads() {
    let mut made = Vec::new();
    for threads in [1, 2, 8] {
        let stage = Stage::new().await.with_threads(threads);
        let source = ImageBuilder::new().layer(&nasty_tar()).layer(&small(1)).layer(&large(2));
        source.push(stage.content(), APP, Some("1"));
        stage.convert().await;
        let manifest = stage.manifest(APP, "1-esgz");
        made.push((manifest.config, manifest.layers));
    }
    assert!(made.iter().all(|one| *one == made[0]), "{made:#?}");
}

#[tokio::test]
async fn c26_a_layer_that_appears_twice_in_one_image_is_done_once() {
    let stage = Stage::new().await;
    let (twice, other) = (small(1), small(2));
    ImageBuilder::new().layer(&twice).layer(&other).layer(&twice).push(stage.content(), APP, Some("1"));
    let task = stage.convert().await;
    assert_eq!((task.progress.layers_total, task.progress.layers_converted), (2, 2));
    stage.assert_same_files(APP, "1", "1-esgz");
    let layers = stage.manifest(APP, "1-esgz").layers;
    assert_eq!((layers.len(), &layers[0]), (3, &layers[2]));
    let source = stage.manifest(APP, "1").layers[0].digest.to_string();
    let got = stage.registry.requests_of(Request::BlobGet);
    assert_eq!(got.iter().filter(|seen| seen.path.contains(&source)).count(), 1);
}

#[tokio::test]
async fn a_layer_that_the_format_cannot_hold_is_kept() {
    let stage = Stage::new().await;
    let source = ImageBuilder::new().layer(&small(1)).layer(&sparse_tar()).layer(&replaced_tar());
    source.push(stage.content(), APP, Some("1"));
    let task = stage.convert().await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (1, 2));
    let (before, after) = (stage.manifest(APP, "1").layers, stage.manifest(APP, "1-esgz").layers);
    assert_eq!(before[1..], after[1..], "as they were");
    assert!(after[0].annotations.contains_key(TOC_DIGEST));
    assert_whole(stage.content(), APP, &stage.manifest(APP, "1-esgz"));
    assert_eq!(stage.content().uploads_open(), 0);
}

#[tokio::test]
async fn a_layer_that_turns_out_late_to_be_impossible_leaves_no_upload() {
    let stage = Stage::new().await;
    let mut entries = nasty_entries();
    entries.push(accel_test_support::tar::file("large", accel_test_support::noise(5 << 20, 5)));
    entries.push(accel_test_support::tar::sparse_gnu("sparse", 1 << 20, &[(0, b"x")]));
    ImageBuilder::new().layer(&tar(&entries)).push(stage.content(), APP, Some("1"));
    let task = stage.convert().await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (0, 1));
    assert_eq!(stage.manifest(APP, "1").layers, stage.manifest(APP, "1-esgz").layers);
    assert_eq!(stage.content().uploads_open(), 0);
}

#[tokio::test]
async fn a_kept_layer_is_remembered_as_kept() {
    let stage = Stage::new().await;
    ImageBuilder::new().layer(&sparse_tar()).push(stage.content(), APP, Some("1"));
    stage.convert().await;
    ImageBuilder::new().layer(&sparse_tar()).annotation("again", "yes").push(stage.content(), APP, Some("2"));
    stage.registry.forget_requests();
    let task = stage.run(stage.task_of("library/app:2", "library/app:2-esgz", default_output())).await;
    assert_eq!((task.progress.layers_kept, task.progress.bytes_read), (1, 0));
    assert_eq!(stage.manifest(APP, "2").layers, stage.manifest(APP, "2-esgz").layers);
}

#[tokio::test]
async fn a_foreign_layer_is_named_and_never_touched() {
    let stage = Stage::new().await;
    let source = ImageBuilder::new().docker().with(Layer::foreign(&small(9))).layer(&small(1));
    source.push(stage.content(), APP, Some("1"));
    let task = stage.convert().await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (1, 1));
    let (before, after) = (&stage.manifest(APP, "1").layers[0], &stage.manifest(APP, "1-esgz").layers[0]);
    assert_eq!((before.digest, &before.other), (after.digest, &after.other), "urls included");
    assert_eq!(after.media_type, media_type::to_oci(&before.media_type));
    let digest = before.digest.to_string();
    assert!(stage.registry.requests().iter().all(|seen| !seen.path.contains(&digest)));
}

#[tokio::test]
async fn a_layer_that_is_estargz_with_these_options_is_kept_unread() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    let base = stage.accelerated_layer(0);
    let converted = base.descriptor.clone();
    let own = Layer::pack(&small(3), Compression::Gzip, Dialect::Oci);
    ImageBuilder::new().with(base).with(own).push(stage.content(), "library/child", Some("1"));
    stage.registry.forget_requests();
    let task = stage.run(stage.task_of("library/child:1", "library/child:1-esgz", default_output())).await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (1, 1));
    assert_eq!(stage.manifest("library/child", "1-esgz").layers[0], converted);
    let mut got = stage.registry.requests_of(Request::BlobGet);
    got.retain(|seen| seen.path.contains(&converted.digest.to_string()));
    assert!(got.iter().all(|seen| seen.range.is_some() && seen.sent_bytes < 2048), "only its TOC is read: {got:#?}");
}

#[tokio::test]
async fn a_layer_that_only_claims_to_be_estargz_is_converted() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    let claims = stage.manifest(APP, "1-esgz").layers.swap_remove(0).annotations;
    let mut liar = Layer::pack(&small(3), Compression::Gzip, Dialect::Oci);
    liar.descriptor.annotations = claims;
    ImageBuilder::new().with(liar).push(stage.content(), "library/liar", Some("1"));
    let task = stage.run(stage.task_of("library/liar:1", "library/liar:1-esgz", default_output())).await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (1, 0));
    stage.assert_same_files("library/liar", "1", "1-esgz");
}

#[tokio::test]
async fn of_a_layer_that_claims_to_be_done_only_the_toc_is_read_before_it_is_converted() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    let mut claims = stage.accelerated_layer(0).descriptor.annotations;
    claims.insert(BOOTSTRAP.to_owned(), "true".to_owned());
    let mut liar = Layer::pack(&small(3), Compression::Gzip, Dialect::Oci);
    liar.descriptor.annotations = claims;
    let right = stage.accelerated_layer(1).annotation(BOOTSTRAP, "true");
    let (lied, kept) = (liar.descriptor.digest.to_string(), right.descriptor.digest.to_string());
    ImageBuilder::new().with(liar).with(right).layer(&small(4)).push(stage.content(), "library/liar", Some("1"));
    stage.registry.forget_requests();
    let task = stage.run(stage.task_of("library/liar:1", "library/liar:1-esgz", default_output())).await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (2, 1), "{}", task.reason);
    let whole = |digest: &str| {
        let mut got = stage.registry.requests_of(Request::BlobGet);
        got.retain(|seen| seen.path.contains(digest));
        let (ranges, whole): (Vec<_>, Vec<_>) = got.iter().partition(|seen| seen.range.is_some());
        assert!(!ranges.is_empty() && ranges.iter().all(|seen| seen.sent_bytes < 2048), "only its TOC: {ranges:#?}");
        whole.len()
    };
    assert_eq!((whole(&lied), whole(&kept)), (1, 0), "to be converted, and not at all");
    stage.assert_same_files("library/liar", "1", "1-esgz");
}

#[tokio::test]
async fn a_remembered_blob_that_is_gone_is_made_again() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    let lost = stage.manifest(APP, "1-esgz").layers[0].digest;
    stage.content().remove_manifest(APP, "1-esgz");
    stage.content().remove_blob(APP, lost);
    let task = stage.run(stage.task()).await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (1, 1));
    stage.assert_same_files(APP, "1", "1-esgz");
}

#[tokio::test]
async fn a_blob_that_goes_while_the_image_is_pushed_is_made_again_once() {
    let stage = Stage::new().await;
    let content = stage.content();
    let one = ImageBuilder::new().layer(&small(1)).push(content, APP, None);
    accel_test_support::IndexBuilder::new().image(&one).push(content, APP, Some("1"));
    stage.convert().await;
    let child = stage.index(APP, "1-esgz").manifests.swap_remove(0);
    let lost = stage.manifest(APP, &child.digest.to_string()).layers[0].digest;
    for key in ["1-esgz", &child.digest.to_string()] {
        content.remove_manifest(APP, key);
    }
    stage.registry.rule(Rule::on(Request::ManifestPut, Fault::BlobGone(lost)).once());
    let task = stage.run(stage.task()).await;
    assert_eq!((task.reason.as_str(), task.work.attempts), ("", 0));
    let index = stage.index(APP, "1-esgz");
    stage.assert_same_files(APP, &one.manifest.digest.to_string(), &index.manifests[0].digest.to_string());
}
