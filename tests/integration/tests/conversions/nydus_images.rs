//! Nydus: the layers of an image become blobs, and a layer behind them says what file system they are together.

use accel_domain::task::State;
use accel_domain::{ByteSize, FormatOptions, NydusOptions, Output, Timestamp};
use accel_pipeline::{Engine, Outcome, Stop, Tally, convert_image, move_tag};
use accel_test_support::image::Compression;
use accel_test_support::{ImageBuilder, IndexBuilder, Request, tar};
use serde_json::{Value, json};

use crate::nydus::{assert_form, assert_is_nydus, assert_verified, convert, layered, output, task, verify};
use crate::picture::{image, made_of, small};
use crate::stage::{APP, Stage};

#[tokio::test]
async fn a1_an_image_becomes_nydus_and_refers_to_its_source() {
    let stage = Stage::new().await;
    let source = layered().docker().config("future", json!({"of": ["docker"]})).annotation("kept", "yes");
    let source = source.push(stage.content(), APP, Some("1"));
    let task = convert(&stage).await;
    assert_eq!((task.progress.layers_total, task.progress.layers_converted), (3, 3));
    assert_eq!(stage.content().tags(APP), ["1", "1-nydus"]);
    assert_is_nydus(&stage, "1", "1-nydus").await;
    let manifest = stage.manifest(APP, "1-nydus");
    assert_eq!(task.sizes.target, manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>());
    assert_eq!(
        (made_of(&manifest.annotations), manifest.annotations["kept"].as_str()),
        (source.manifest.digest, "yes")
    );
    let said = |name: &str| manifest.annotations[&format!("containerd.io/snapshot/nydus-{name}")].clone();
    assert_eq!(said("source-digest"), source.manifest.digest.to_string());
    assert_eq!(said("source-reference"), format!("{}/{APP}:1", stage.registry.host()));
    assert_eq!((said("fs-version").as_str(), said("builder-version").as_str()), ("6", "accel nydus/1"));
    // What Harbor wants for an accessory of type accelerator.nydus: a subject without platform, no artifact type.
    let subject = manifest.subject.unwrap();
    assert_eq!((subject.digest, subject.platform), (source.manifest.digest, None));
    assert!(!manifest.other.contains_key("artifactType"));
    let config: Value = serde_json::from_slice(&stage.content().blob(APP, manifest.config.digest).unwrap()).unwrap();
    assert_eq!((&config["future"], &config["config"]["Cmd"]), (&json!({"of": ["docker"]}), &json!(["/bin/sh"])));
}

#[tokio::test]
async fn a4_what_is_converted_once_is_not_converted_again() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    convert(&stage).await;
    let blobs = stage.manifest(APP, "1-nydus").layers;
    stage.content().remove_manifest(APP, "1-nydus");
    stage.registry.forget_requests();
    let again = convert(&stage).await;
    assert_eq!((again.progress.layers_converted, again.progress.layers_reused), (0, 2));
    assert_eq!((again.progress.bytes_read, stage.manifest(APP, "1-nydus").layers), (0, blobs));
    image().layer(&small(9)).push(stage.content(), APP, Some("2"));
    stage.registry.forget_requests();
    let child = stage.run(task(&stage, "2")).await;
    assert_eq!((child.progress.layers_converted, child.progress.layers_reused), (1, 2));
    let sources: Vec<_> = stage.manifest(APP, "2").layers[..2].iter().map(|layer| layer.digest.to_string()).collect();
    let got = stage.registry.requests_of(Request::BlobGet);
    assert!(!got.iter().any(|seen| sources.iter().any(|digest| seen.path.contains(digest))), "{got:#?}");
    for layer in &stage.manifest(APP, "2-nydus").layers[..2] {
        let parts = got.iter().filter(|seen| seen.path.contains(&layer.digest.to_string()));
        assert!(parts.clone().all(|seen| seen.range.is_some()), "{got:#?}");
        assert!(parts.map(|seen| seen.sent_bytes).sum::<u64>() < layer.size / 2, "its end alone: {got:#?}");
    }
    assert_is_nydus(&stage, "2", "2-nydus").await;
}

#[tokio::test]
async fn a4_batches_are_an_option_of_the_layers() {
    let stage = Stage::new().await;
    let batched = |tag: &str| {
        let options = NydusOptions { batch_size: ByteSize(64 << 10), ..NydusOptions::default() };
        let output = Output { options: FormatOptions::Nydus(options), ..output() };
        stage.task_of(&format!("{APP}:{tag}"), &format!("{APP}:{tag}-batched"), output)
    };
    layered().push(stage.content(), APP, Some("1"));
    convert(&stage).await;
    let task = stage.run(batched("1")).await;
    assert_eq!((task.state, task.progress.layers_converted, task.progress.layers_reused), (State::Completed, 3, 0));
    assert_is_nydus(&stage, "1", "1-batched").await;
    let (plain, blobs) = (stage.manifest(APP, "1-nydus").layers, stage.manifest(APP, "1-batched").layers);
    assert!(plain[1].size > blobs[1].size && plain[1].digest != blobs[1].digest, "many small files");
    layered().layer(&small(9)).push(stage.content(), APP, Some("2"));
    let child = stage.run(batched("2")).await;
    assert_eq!((child.progress.layers_converted, child.progress.layers_reused), (1, 3));
    assert_eq!(stage.manifest(APP, "2-batched").layers[..3], blobs[..3]);
    assert_is_nydus(&stage, "2", "2-batched").await;
}

#[tokio::test]
async fn a4_another_prefetch_list_makes_another_bootstrap_alone() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    convert(&stage).await;
    let options = NydusOptions { prefetch: vec!["/etc".to_owned()], ..NydusOptions::default() };
    let output = Output { options: FormatOptions::Nydus(options), ..output() };
    let task = stage.run(stage.task_of("library/app:1", "library/app:1-etc", output)).await;
    assert_eq!((task.progress.layers_converted, task.progress.layers_reused), (0, 2));
    let (one, other) = (stage.manifest(APP, "1-nydus").layers, stage.manifest(APP, "1-etc").layers);
    assert_eq!(one[..2], other[..2]);
    assert_ne!(one[2].digest, other[2].digest);
    assert_is_nydus(&stage, "1", "1-etc").await;
}

#[tokio::test]
async fn a4_in_one_time_mode_the_marker_answers() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let output = output();
    let job = accel_pipeline::Job { rule_hash: output.rule_hash("t"), output, ..stage.job() };
    let engine = Engine::new(2);
    let run = async || {
        let (tally, stop) = (Tally::default(), Stop::new());
        let converting = convert_image(&engine, &*stage.store, &job, &tally, stop.signal(), Timestamp::now);
        let outcome = Box::pin(converting).await.unwrap();
        if let Outcome::Converted(image) = &outcome {
            move_tag(&job, image).await.unwrap();
        }
        outcome
    };
    assert!(matches!(run().await, Outcome::Converted(_)));
    assert!(matches!(run().await, Outcome::AlreadyThere { .. }));
}

#[tokio::test]
async fn every_platform_of_an_index_has_its_own_file_system() {
    let stage = Stage::new().await;
    let platforms = ["linux/amd64", "linux/arm64"];
    let images =
        [2, 3].map(|n| ImageBuilder::new().platform(platforms[n as usize - 2]).layer(&small(1)).layer(&small(n)));
    let images = images.map(|image| image.push(stage.content(), APP, None));
    let index = images.iter().fold(IndexBuilder::new(), IndexBuilder::image);
    let index = index.attestation(stage.content(), APP, &images[0]).push(stage.content(), APP, Some("1"));
    let task = convert(&stage).await;
    assert_eq!((task.progress.layers_total, task.progress.layers_converted), (3, 3));
    let made = stage.index(APP, "1-nydus");
    assert_eq!(made.subject.unwrap().digest, index.digest, "so that it is deleted with its source");
    assert_eq!(made.manifests.len(), 2);
    for ((entry, source), platform) in made.manifests.iter().zip(&images).zip(platforms) {
        assert_eq!(entry.platform.as_ref().unwrap().to_string(), platform);
        let (source, target) = (source.manifest.digest.to_string(), entry.digest.to_string());
        let target = stage.manifest(APP, &target);
        assert_form(&stage, &stage.manifest(APP, &source), &target);
        assert_eq!(target.subject.unwrap().digest.to_string(), source);
        assert_eq!(target.annotations["containerd.io/snapshot/nydus-source-digest"], source);
    }
    assert_eq!(assert_verified(&stage, "1", (APP, "1-nydus")).await.platforms, platforms);
}

#[tokio::test]
async fn odd_images_are_converted_too() {
    let twice = small(1);
    let rows = [
        ("no layers", ImageBuilder::new()),
        ("a layer twice", ImageBuilder::new().layer(&twice).layer(&small(2)).layer(&twice)),
        ("a layer of nothing", ImageBuilder::new().layer(&tar(&[])).layer(&small(1))),
        (
            "every compression",
            ImageBuilder::new().packed(&small(1), Compression::Zstd).packed(&small(2), Compression::None),
        ),
    ];
    for (what, image) in rows {
        let stage = Stage::new().await;
        image.push(stage.content(), APP, Some("1"));
        let task = convert(&stage).await;
        let manifest = stage.manifest(APP, "1-nydus");
        assert_form(&stage, &stage.manifest(APP, "1"), &manifest);
        let report = verify(&stage, "1", "1-nydus").await;
        assert!(report.is_right(), "{what}: {:#?}", report.differences);
        assert_eq!(task.progress.layers_kept, 0, "{what}");
    }
}

#[tokio::test]
async fn the_result_is_the_same_on_one_two_and_eight_threads() {
    let mut made = Vec::new();
    for threads in [1, 2, 8] {
        let stage = Stage::new().await.with_threads(threads);
        layered().layer(&small(1)).push(stage.content(), APP, Some("1"));
        convert(&stage).await;
        let manifest = stage.manifest(APP, "1-nydus");
        made.push((manifest.config, manifest.layers));
    }
    assert!(made.iter().all(|one| *one == made[0]), "{made:#?}");
}

#[tokio::test]
async fn a_target_elsewhere_refers_to_nothing() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let elsewhere = stage.run(stage.task_of("library/app:1", "fast/app:1", output())).await;
    assert_eq!((elsewhere.state, stage.manifest("fast/app", "1").subject), (State::Completed, None));
    let output = Output { subject: false, ..output() };
    let beside = stage.run(stage.task_of("library/app:1", "library/app:1-n", output)).await;
    assert_eq!((beside.state, stage.manifest(APP, "1-n").subject), (State::Completed, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_others_have_converted_are_put_together() {
    let stage = Stage::new().await.with_fan_out(2);
    let source = (0..5).fold(ImageBuilder::new(), |image, n| image.layer(&small(n)));
    source.push(stage.content(), APP, Some("1"));
    let task = stage.share(&task(&stage, "1"), 3).await;
    assert_eq!((task.state, task.reason.as_str(), task.progress.layers_converted), (State::Completed, "", 5));
    assert_is_nydus(&stage, "1", "1-nydus").await;
}
