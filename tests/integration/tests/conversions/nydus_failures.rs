//! Nydus: what it cannot hold, what it is not made of, and blobs that are lost or damaged on the way.

use accel_domain::marker;
use accel_domain::task::State;
use accel_image::media_type;
use accel_test_support::image::Layer;
use accel_test_support::{Fault, ImageBuilder, Request, Rule, sparse_tar};
use serde_json::Value;

use crate::nydus::{assert_is_nydus, convert, output, task};
use crate::picture::{image, small};
use crate::stage::{APP, Stage};

/// The task fails at its first attempt with all of `words` in its reason, and nothing of a target is there.
async fn fails(stage: &Stage, words: &[&str]) {
    let tags = stage.content().tags(APP);
    let manifests = stage.content().manifests(APP);
    let task = stage.run(task(stage, "1")).await;
    assert_eq!((task.state, task.work.attempts), (State::Failed, 0), "{}", task.reason);
    assert!(words.iter().all(|word| task.reason.contains(word)), "{}: {words:?}", task.reason);
    assert_eq!((stage.content().tags(APP), stage.content().manifests(APP)), (tags, manifests));
    assert_eq!(stage.content().uploads_open(), 0);
}

#[tokio::test]
async fn a_layer_that_nydus_cannot_hold_fails_the_image_by_name() {
    let stage = Stage::new().await;
    let source = image().layer(&sparse_tar()).push(stage.content(), APP, Some("1"));
    fails(&stage, &["layer", &source.layers[2].digest.to_string(), "sparse"]).await;
    let stage = Stage::new().await;
    let foreign = Layer::foreign(&small(9));
    let digest = foreign.descriptor.digest.to_string();
    ImageBuilder::new().with(foreign).layer(&small(1)).push(stage.content(), APP, Some("1"));
    fails(&stage, &["layer", &digest, "platforms"]).await;
    assert_eq!(stage.changes(), vec![], "it is known before a layer is read");
}

#[tokio::test]
async fn a_layer_that_claims_to_be_done_is_converted_all_the_same() {
    let stage = Stage::new().await.with_fan_out(1);
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    let done = format!("nydus/1 {}", output().options.layer_hash().hex());
    let claims = [0, 1].map(|at| stage.accelerated_layer(at).annotation(marker::LAYER, &done));
    claims.into_iter().fold(ImageBuilder::new(), ImageBuilder::with).push(stage.content(), APP, Some("2"));
    let id = stage.admit(&task(&stage, "2")).await;
    assert!(stage.settle_one(&stage.converter()).await);
    assert_eq!(stage.get(&id).await.units().len(), 2);
    let task = stage.finish(&id).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, ""));
    assert_eq!((task.progress.layers_converted, task.progress.layers_kept), (2, 0));
    assert_is_nydus(&stage, "2", "2-nydus").await;
}

#[tokio::test]
async fn a_nydus_image_is_not_made_of_a_nydus_image() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("0"));
    let made = stage.run(task(&stage, "0")).await;
    assert_eq!(made.state, State::Completed);
    let mut foreign: Value = serde_json::from_slice(&stage.content().manifest(APP, "0-nydus").unwrap().bytes).unwrap();
    foreign["annotations"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("io.accel."));
    stage.content().put_manifest(APP, "1", media_type::OCI_MANIFEST, foreign.to_string());
    fails(&stage, &["a Nydus image already"]).await;
}

#[tokio::test]
async fn a_target_that_was_made_of_another_source_is_not_taken_for_acceld_s() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    image().layer(&small(3)).push(stage.content(), APP, Some("2"));
    convert(&stage).await;
    let taken = stage.run(stage.task_of("library/app:2", "library/app:1-nydus", output())).await;
    assert_eq!(taken.state, State::Failed);
    assert!(taken.reason.contains("adopt"), "{}", taken.reason);
}

#[tokio::test]
async fn a_blob_that_is_lost_before_the_end_is_made_is_made_again_once() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    convert(&stage).await;
    let lost = stage.manifest(APP, "1-nydus").layers[0].digest;
    stage.content().remove_manifest(APP, "1-nydus");
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::status(404)).path(lost).once());
    let task = convert(&stage).await;
    assert_eq!((task.work.attempts, task.progress.layers_converted), (0, 2));
    assert_is_nydus(&stage, "1", "1-nydus").await;
}

#[tokio::test]
async fn a_registry_that_fails_for_a_while_is_waited_for() {
    for fault in [Fault::status(503), Fault::Reset] {
        let stage = Stage::new().await;
        image().push(stage.content(), APP, Some("1"));
        convert(&stage).await;
        let part = stage.manifest(APP, "1-nydus").layers[1].digest;
        stage.content().remove_manifest(APP, "1-nydus");
        stage.registry.rule(Rule::on(Request::BlobGet, fault).path(part).times(2));
        assert_eq!(convert(&stage).await.work.attempts, 0);
    }
}

#[tokio::test]
async fn a_blob_that_says_something_else_now_fails_the_attempt_and_names_it() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    convert(&stage).await;
    let blob = stage.manifest(APP, "1-nydus").layers[0].digest;
    stage.content().remove_manifest(APP, "1-nydus");
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::WrongBytes).path(blob));
    let task = stage.run(task(&stage, "1")).await;
    assert_eq!(task.state, State::Failed);
    assert!(task.reason.contains(&blob.to_string()), "{}", task.reason);
    assert_eq!((stage.content().tags(APP), stage.content().uploads_open()), (vec!["1".to_owned()], 0));
}
