//! Nydus images that refer to their original layers: what is made of a layer is an index into it.

use accel_domain::task::{State, Task};
use accel_domain::{FormatOptions, NydusOptions, Output};
use accel_test_support::image::Compression;
use accel_test_support::{ImageBuilder, IndexBuilder, Request};

use crate::nydus::{self, assert_verified, layered};
use crate::picture::{assert_whole, small};
use crate::stage::{APP, Stage};

const REF: &str = "containerd.io/snapshot/nydus-ref";

/// What a rule makes that says `oci_ref`.
pub(crate) fn output() -> Output {
    let options = NydusOptions { oci_ref: true, ..NydusOptions::default() };
    Output { options: FormatOptions::Nydus(options), ..nydus::output() }
}

fn task(stage: &Stage, tag: &str) -> Task {
    stage.task_of(&format!("{APP}:{tag}"), &format!("{APP}:{tag}-ref"), output())
}

async fn convert(stage: &Stage, tag: &str) -> Task {
    let task = stage.run(task(stage, tag)).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    task
}

/// Asserts that `tag` has become a whole image whose indexes say which layers they are into.
async fn assert_refers(stage: &Stage, tag: &str) {
    let target = format!("{tag}-ref");
    for (source, target) in std::iter::zip(stage.platforms(&format!("{APP}:{tag}")), stage.platforms_of(APP, &target)) {
        let (source, target) = (stage.manifest(APP, &source), stage.manifest(APP, &target));
        let named: Vec<_> = target.layers.iter().filter_map(|layer| layer.annotations.get(REF).cloned()).collect();
        let layers: Vec<_> = source.layers.iter().map(|layer| layer.digest.to_string()).collect();
        assert_eq!(named, layers);
        assert_eq!(target.layers.len(), layers.len() + 1);
    }
    assert_verified(stage, tag, (APP, &target)).await;
}

#[tokio::test]
async fn a_second_image_on_the_same_layers_reads_the_new_one_alone() {
    let stage = Stage::new().await;
    layered().push(stage.content(), APP, Some("1"));
    let first = convert(&stage, "1").await;
    assert_eq!((first.progress.layers_converted, first.progress.layers_reused), (3, 0));
    assert_refers(&stage, "1").await;
    layered().layer(&small(9)).push(stage.content(), APP, Some("2"));
    stage.registry.forget_requests();
    let second = convert(&stage, "2").await;
    assert_eq!((second.progress.layers_converted, second.progress.layers_reused), (1, 3));
    let got = stage.registry.requests_of(Request::BlobGet);
    for layer in &stage.manifest(APP, "1").layers {
        assert!(!got.iter().any(|seen| seen.path.contains(&layer.digest.to_string())), "{got:#?}");
    }
    assert_refers(&stage, "2").await;
}

#[tokio::test]
async fn indexes_are_not_taken_for_blobs_nor_blobs_for_indexes() {
    let stage = Stage::new().await;
    layered().push(stage.content(), APP, Some("1"));
    nydus::convert(&stage).await;
    let task = convert(&stage, "1").await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (3, 0));
    assert_refers(&stage, "1").await;
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
}

#[tokio::test]
async fn every_platform_refers_to_its_own_layers() {
    let stage = Stage::new().await;
    let images = ["linux/amd64", "linux/arm64"].iter().zip([2, 3]).map(|(platform, n)| {
        ImageBuilder::new().platform(platform).layer(&small(1)).layer(&small(n)).push(stage.content(), APP, None)
    });
    let index = images.fold(IndexBuilder::new(), |index, image| index.image(&image));
    index.push(stage.content(), APP, Some("1"));
    let task = convert(&stage, "1").await;
    assert_eq!((task.progress.layers_total, task.progress.layers_converted), (3, 3));
    assert_eq!(stage.platforms_of(APP, "1-ref").len(), 2);
    assert_refers(&stage, "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_others_have_made_are_put_together() {
    let stage = Stage::new().await.with_fan_out(2);
    let source = (0..5).fold(ImageBuilder::new(), |image, n| image.layer(&small(n)));
    source.push(stage.content(), APP, Some("1"));
    let task = stage.share(&task(&stage, "1"), 3).await;
    assert_eq!((task.state, task.reason.as_str(), task.progress.layers_converted), (State::Completed, "", 5));
    assert_refers(&stage, "1").await;
}

#[tokio::test]
async fn a_layer_that_is_no_gzip_fails_the_image_by_name() {
    for (compression, word) in [(Compression::Zstd, "zstd"), (Compression::None, "not compressed")] {
        let stage = Stage::new().await;
        let source = ImageBuilder::new().layer(&small(1)).packed(&small(2), compression);
        let source = source.push(stage.content(), APP, Some("1"));
        let task = stage.run(task(&stage, "1")).await;
        assert_eq!((task.state, task.work.attempts), (State::Failed, 0), "{}", task.reason);
        for word in [word, "oci_ref", &source.layers[1].digest.to_string()] {
            assert!(task.reason.contains(word), "{}", task.reason);
        }
        assert_eq!((stage.content().tags(APP), stage.content().uploads_open()), (vec!["1".to_owned()], 0));
    }
}

/// Nodes read the source's layers from the target's repository.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_refers_to_its_source_is_beside_it_or_brings_its_layers_along() {
    let stage = Stage::new().await;
    layered().push(stage.content(), APP, Some("1"));
    let rows = [
        ("library/app:1-nydus", false, ""),
        ("elsewhere/app:1-nydus", false, "in another repository than the source's layers"),
        ("elsewhere/app:1-nydus", true, ""),
        ("library/app:1", false, "takes the source's tag"),
    ];
    for (target, merge_manifest, reason) in rows {
        let options = NydusOptions { oci_ref: true, merge_manifest, ..NydusOptions::default() };
        let overwrite = target == "library/app:1";
        let output = Output { options: FormatOptions::Nydus(options), overwrite, ..nydus::output() };
        let task = stage.run(stage.task_of("library/app:1", target, output)).await;
        assert!(task.reason.contains(reason) && task.reason.is_empty() == reason.is_empty(), "{}", task.reason);
        assert_eq!(task.state, if reason.is_empty() { State::Completed } else { State::Failed });
    }
    assert_verified(&stage, "1", (APP, "1-nydus")).await;
    let index = stage.index("elsewhere/app", "1-nydus");
    let [plain, made] = [0, 1].map(|at| stage.manifest("elsewhere/app", &index.manifests[at].digest.to_string()));
    for (index, original) in made.layers.iter().zip(&plain.layers[1..]) {
        assert_eq!(index.annotations[REF], original.digest.to_string());
    }
    assert_whole(stage.content(), "elsewhere/app", &plain);
}
