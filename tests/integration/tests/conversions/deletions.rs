//! `delete: true`: a target goes with its source, and with nothing else.

use accel_domain::Task;
use accel_domain::task::{State, TaskKind};
use accel_image::Digest;
use accel_test_support::{ImageBuilder, Request};

use crate::picture::{image, small};
use crate::stage::{APP, Stage, default_output};

fn deletion(stage: &Stage, digest: Digest) -> Task {
    let target = stage.reference("library/app:1-esgz");
    stage.any_task(TaskKind::Delete, "library/app:1", Some(digest), target, default_output())
}

/// A converted image; the digest of its source.
async fn converted(stage: &Stage) -> Digest {
    image().push(stage.content(), APP, Some("1"));
    stage.convert().await.digest.unwrap()
}

/// Runs the deletion, which completes for `reason`.
async fn delete(stage: &Stage, source: Digest, reason: &str) {
    let task = stage.run(deletion(stage, source)).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, reason));
}

#[tokio::test]
async fn the_target_of_a_deleted_source_is_deleted() {
    let stage = Stage::new().await;
    let source = converted(&stage).await;
    let target = stage.digest("library/app:1-esgz").unwrap();
    stage.content().remove_manifest(APP, &source.to_string());
    delete(&stage, source, "deleted").await;
    assert_eq!((stage.content().tags(APP), stage.content().manifest(APP, &target.to_string())), (vec![], None));
    delete(&stage, source, "the target was not there").await;
}

#[tokio::test]
async fn a_target_stays_if_its_source_is_there_again() {
    let stage = Stage::new().await;
    let source = converted(&stage).await;
    delete(&stage, source, "the source is there again, so the target stays").await;
    assert_eq!((stage.content().tags(APP).len(), stage.count(Request::ManifestDelete)), (2, 0));
}

#[tokio::test]
async fn a_target_of_another_digest_or_of_somebody_else_stays() {
    let stage = Stage::new().await;
    let source = converted(&stage).await;
    stage.content().remove_manifest(APP, &source.to_string());
    delete(&stage, Digest::of(b"another"), "the target was made of something else and stays").await;
    ImageBuilder::new().layer(&small(9)).push(stage.content(), APP, Some("1-esgz"));
    delete(&stage, source, "the target was made of something else and stays").await;
    assert_eq!((stage.content().tags(APP), stage.count(Request::ManifestDelete)), (vec!["1-esgz".to_owned()], 0));
}
