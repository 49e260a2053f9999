//! Several platforms under one tag, with BuildKit's attestations.

use accel_domain::task::State;
use accel_domain::{Attestations, Output};
use accel_image::Digest;
use accel_test_support::image::PushedImage;
use accel_test_support::{Fault, ImageBuilder, IndexBuilder, Request, Rule};

use crate::picture::{assert_whole, made_of, small};
use crate::stage::{APP, Stage, default_output};

const PLATFORMS: [&str; 5] = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x", "windows/amd64"];

/// Pushes an index over `platforms`, each with the same base and a layer of its own, and attestations.
fn push_index(stage: &Stage, platforms: &[&str]) -> Vec<PushedImage> {
    let content = stage.content();
    let (mut index, mut images) = (IndexBuilder::new().annotation("kept", "yes"), Vec::new());
    for (number, platform) in (10_u64..).zip(platforms) {
        let image = ImageBuilder::new().platform(platform).layer(&small(1)).layer(&small(number));
        let image = image.push(content, APP, None);
        index = index.image(&image);
        images.push(image);
    }
    for image in &images {
        index = index.attestation(content, APP, image);
    }
    index.push(content, APP, Some("1"));
    images
}

fn task_output(stage: &Stage, output: Output) -> accel_domain::Task {
    stage.task_of("library/app:1", "library/app:1-esgz", output)
}

#[tokio::test]
async fn c16_an_index_becomes_one_target_tag_without_attestations() {
    let stage = Stage::new().await;
    let images = push_index(&stage, &PLATFORMS[..3]);
    let task = stage.convert().await;
    assert_eq!(stage.content().tags(APP), ["1", "1-esgz"]);
    let index = stage.index(APP, "1-esgz");
    assert_eq!(made_of(&index.annotations), task.digest.unwrap());
    assert_eq!(index.annotations["kept"], "yes");
    assert!(index.manifests.iter().all(|entry| !entry.is_attestation()));
    let platforms: Vec<_> = index.manifests.iter().map(|entry| entry.platform.as_ref().unwrap().to_string()).collect();
    assert_eq!(platforms, PLATFORMS[..3]);
    for (entry, source) in index.manifests.iter().zip(&images) {
        stage.assert_same_files(APP, &source.manifest.digest.to_string(), &entry.digest.to_string());
    }
    let progress = task.progress;
    assert_eq!((progress.layers_total, progress.layers_converted), (4, 4), "the base that all share is done once");
}

#[tokio::test]
async fn c16_attestations_are_carried_with_their_reference_corrected() {
    let stage = Stage::new().await;
    push_index(&stage, &PLATFORMS[..2]);
    let carry = Output { attestations: Attestations::Carry, ..default_output() };
    let task = stage.run(task_output(&stage, carry)).await;
    assert_eq!(task.reason, "");
    let index = stage.index(APP, "1-esgz");
    let (attestations, images): (Vec<_>, Vec<_>) = index.manifests.iter().partition(|entry| entry.is_attestation());
    assert_eq!((images.len(), attestations.len()), (2, 2));
    for (image, attestation) in images.iter().zip(attestations) {
        assert_eq!(attestation.annotations["vnd.docker.reference.digest"], image.digest.to_string());
        assert_whole(stage.content(), APP, &stage.manifest(APP, &attestation.digest.to_string()));
    }
}

#[tokio::test]
async fn an_attestation_whose_upload_is_lost_is_copied_again() {
    let stage = Stage::new().await;
    push_index(&stage, &PLATFORMS[..1]);
    let source = stage.index(APP, "1");
    let attestation = stage.manifest(APP, &source.manifests[1].digest.to_string());
    stage.registry.rule(Rule::on(Request::Mount, Fault::NoMount));
    let lost = Rule::on(Request::UploadPut, Fault::SessionLost).path(attestation.layers[0].digest.hex());
    stage.registry.rule(lost.times(2));
    let carry = Output { attestations: Attestations::Carry, ..default_output() };
    let task = stage.run(stage.task_of("library/app:1", "fast/app:1", carry)).await;
    assert_eq!((task.state, task.work.attempts, task.reason.as_str()), (State::Completed, 0, ""));
    let closed = stage.registry.requests_of(Request::UploadPut);
    assert_eq!(closed.iter().filter(|seen| seen.fault.is_some()).count(), 2);
}

#[tokio::test]
async fn c25_only_the_selected_platform_is_pulled_and_pushed() {
    let stage = Stage::new().await;
    let images = push_index(&stage, &PLATFORMS);
    let one = Output { platforms: vec!["linux/arm64".parse().unwrap()], ..default_output() };
    let task = stage.run(task_output(&stage, one)).await;
    assert_eq!((task.reason.as_str(), task.progress.layers_total), ("", 2));
    let entries = stage.index(APP, "1-esgz").manifests;
    assert_eq!(entries.len(), 1);
    stage.assert_same_files(APP, &images[1].manifest.digest.to_string(), &entries[0].digest.to_string());
    let asked = |digest: Digest| stage.registry.requests().iter().any(|seen| seen.path.contains(&digest.to_string()));
    for (at, image) in images.iter().enumerate() {
        let own = [image.manifest.digest, image.config.digest, image.layers[1].digest];
        assert_eq!(own.map(asked), [at == 1; 3], "{}", PLATFORMS[at]);
    }
}

#[tokio::test]
async fn a_platform_that_is_not_there_fails_by_name() {
    let stage = Stage::new().await;
    push_index(&stage, &PLATFORMS[..1]);
    let absent = Output { platforms: vec!["linux/riscv64".parse().unwrap()], ..default_output() };
    let task = stage.run(task_output(&stage, absent)).await;
    assert!(task.reason.contains("linux/riscv64"), "{}", task.reason);
    assert_eq!((stage.changes(), stage.count(Request::BlobGet)), (vec![], 0));
}
