//! One index of plain and Nydus images.

use accel_domain::task::State;
use accel_domain::{Attestations, FormatOptions, NydusOptions, Output};
use accel_image::{Manifest, media_type};
use accel_pipeline::{StopReason, VerifyOptions};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, IndexBuilder, Request, Rule};
use serde_json::{Value, json};

use crate::interruptions::working;
use crate::nydus::{self, assert_verified, convert, layered, verify, verify_with};
use crate::picture::{assert_whole, image, made_of, small};
use crate::stage::{APP, Stage};

/// As [`nydus::output`], with the plain images beside those of Nydus.
pub(crate) fn output() -> Output {
    let options = NydusOptions { merge_manifest: true, ..NydusOptions::default() };
    Output { options: FormatOptions::Nydus(options), ..nydus::output() }
}

/// Entries of an index: their configuration's media type, and what the index says they are.
fn kinds(stage: &Stage, repository: &str, index: &accel_image::Index) -> Vec<(String, Option<Value>)> {
    let kind = |entry: &accel_image::Descriptor| {
        let manifest = stage.manifest(repository, &entry.digest.to_string());
        (manifest.config.media_type, entry.other.get("artifactType").cloned())
    };
    index.manifests.iter().map(kind).collect()
}

#[tokio::test]
async fn a_merged_index_holds_the_plain_image_and_the_nydus_image() {
    let stage = Stage::new().await;
    let source = layered().docker().push(stage.content(), APP, Some("1"));
    let task = stage.run(stage.task_of("library/app:1", "library/app:1-nydus", output())).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    let index = stage.index(APP, "1-nydus");
    assert_eq!(made_of(&index.annotations), source.manifest.digest);
    let nydus_kind = Some(json!("application/vnd.nydus.image.manifest.v1+json"));
    let expected = [
        (media_type::OCI_CONFIG.to_owned(), None),
        ("application/vnd.nydus.image.config.v1+json".to_owned(), nydus_kind),
    ];
    assert_eq!(kinds(&stage, APP, &index), expected);
    assert!(index.manifests.iter().all(|entry| entry.platform.as_ref().unwrap().to_string() == "linux/amd64"));
    let [plain, made] = [0, 1].map(|at| stage.manifest(APP, &index.manifests[at].digest.to_string()));
    let said = &index.manifests[0].annotations["containerd.io/snapshot/nydus-source-digest"];
    assert_eq!(*said, source.manifest.digest.to_string());
    assert_eq!(plain.layers[0].annotations["containerd.io/snapshot/nydus-empty-layer"], "true");
    assert_eq!((plain.layers.len(), made.layers.len()), (4, 4));
    assert_whole(stage.content(), APP, &plain);
    stage.assert_same_content((APP, "1"), (APP, &index.manifests[0].digest.to_string()));
    let size = |manifest: &Manifest| manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
    assert_eq!(task.sizes.target, size(&plain) + size(&made));
    let report = verify(&stage, "1", "1-nydus").await;
    assert!(report.is_right() && report.layers_checked == 3, "{:#?}", report.differences);
    let again = stage.run(stage.task_of("library/app:1", "library/app:1-nydus", output())).await;
    assert_eq!(again.state, State::AlreadyAccelerated);
    let remembered = stage.run(stage.task_of("library/app:1", "library/app:alone", nydus::output())).await;
    assert_eq!(remembered.progress.layers_reused, 3, "the layers are the same without the index");
}

#[tokio::test]
async fn a_merged_index_of_several_platforms_has_its_attestations_and_may_lie_elsewhere() {
    let stage = Stage::new().await;
    let platforms = ["linux/amd64", "linux/arm64"];
    let images =
        [2, 3].map(|n| ImageBuilder::new().platform(platforms[n as usize - 2]).layer(&small(1)).layer(&small(n)));
    let images = images.map(|image| image.push(stage.content(), APP, None));
    let index = images.iter().fold(IndexBuilder::new().annotation("kept", "yes"), IndexBuilder::image);
    index.attestation(stage.content(), APP, &images[0]).push(stage.content(), APP, Some("1"));
    let output = Output { attestations: Attestations::Carry, ..output() };
    for (repository, target) in [(APP, "library/app:1-nydus"), ("fast/app", "fast/app:1")] {
        let task = stage.run(stage.task_of("library/app:1", target, output.clone())).await;
        assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
        let tag = target.rsplit(':').next().unwrap();
        let index = stage.index(repository, tag);
        assert_eq!((index.manifests.len(), index.annotations["kept"].as_str()), (5, "yes"));
        let platforms_of = |at: usize| index.manifests[at].platform.as_ref().unwrap().to_string();
        assert_eq!([0, 1, 2, 3].map(platforms_of), ["linux/amd64", "linux/arm64", "linux/amd64", "linux/arm64"]);
        let attestation = &index.manifests[4];
        assert_eq!(attestation.annotations["vnd.docker.reference.digest"], index.manifests[0].digest.to_string());
        let verified = assert_verified(&stage, "1", (repository, tag)).await;
        assert_eq!(verified.platforms, platforms);
        for entry in &index.manifests[..2] {
            assert_whole(stage.content(), repository, &stage.manifest(repository, &entry.digest.to_string()));
        }
    }
}

#[tokio::test]
async fn a_merged_index_as_a_source_gives_its_plain_images() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("0"));
    let made = stage.run(stage.task_of("library/app:0", "library/app:0-nydus", output())).await;
    assert_eq!(made.state, State::Completed);
    let mut foreign: Value = serde_json::from_slice(&stage.content().manifest(APP, "0-nydus").unwrap().bytes).unwrap();
    foreign["annotations"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("io.accel."));
    stage.content().put_manifest(APP, "1", media_type::OCI_INDEX, foreign.to_string());
    let task = convert(&stage).await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (1, 2), "the empty layer is new");
    for platforms in [vec![], vec!["linux/amd64".parse().unwrap()]] {
        let options = VerifyOptions { platforms, ..VerifyOptions::default() };
        let report = verify_with(&stage, "1", (APP, "1-nydus"), options).await;
        assert!(report.is_right() && report.platforms_left_out.is_empty(), "{report:#?}");
    }
}

#[tokio::test]
async fn a_plain_layer_whose_upload_is_lost_is_copied_again() {
    let stage = Stage::new().await;
    let source = image().push(stage.content(), APP, Some("1"));
    stage.registry.rule(Rule::on(Request::Mount, Fault::NoMount));
    stage.registry.rule(Rule::on(Request::UploadPut, Fault::SessionLost).path(source.layers[0].digest.hex()).times(2));
    let task = stage.run(stage.task_of("library/app:1", "fast/app:1", output())).await;
    assert_eq!((task.state, task.work.attempts, task.reason.as_str()), (State::Completed, 0, ""));
    let closed = stage.registry.requests_of(Request::UploadPut);
    assert_eq!(closed.iter().filter(|seen| seen.fault.is_some()).count(), 2);
}

/// A task that makes a merged index of an image and its attestation, in a registry that the source's layers are copied to.
async fn to_another_registry() -> (Stage, FaultyRegistry, accel_domain::Task) {
    let other = FaultyRegistry::start().await;
    let stage = Stage::new().await.with_host(other.host());
    let image = ImageBuilder::new().layer(&small(1)).push(stage.content(), APP, None);
    let index = IndexBuilder::new().image(&image).attestation(stage.content(), APP, &image);
    index.push(stage.content(), APP, Some("1"));
    let target = format!("{}/fast/app:1", other.host()).parse().unwrap();
    let task = stage.task_to("library/app:1", target, Output { attestations: Attestations::Carry, ..output() });
    (stage, other, task)
}

#[tokio::test]
async fn a_stop_at_any_request_of_an_upload_leaves_none_open() {
    let (stage, other, task) = to_another_registry().await;
    assert_eq!(stage.run(task).await.state, State::Completed);
    let requests = [Request::UploadStart, Request::UploadPatch, Request::UploadPut];
    let counted = requests.map(|request| (request, other.requests_of(request).len()));
    // Blob, bootstrap and configuration; the empty layer, the layer and the configuration of the plain image; the attestation.
    assert!(counted.iter().all(|(_, count)| *count >= 8), "{counted:?}");
    for (request, nth) in counted.into_iter().flat_map(|(request, count)| (1..=count).map(move |nth| (request, nth))) {
        let (stage, other, task) = to_another_registry().await;
        other.rule(Rule::on(request, Fault::Held).nth(nth));
        let id = stage.admit(&task).await;
        let (stop, running) = working(&stage).await;
        let held = other.held().await;
        stop.stop(StopReason::Shutdown);
        held.go();
        running.await.unwrap();
        assert_eq!(other.content().uploads_open(), 0, "{request:?} {nth}");
        let task = stage.finish(&id).await;
        assert_eq!((task.state, task.work.attempts), (State::Completed, 0), "{request:?} {nth}: {}", task.reason);
    }
}
