//! One image: its files, its media types, its configuration.

use accel_domain::Timestamp;
use accel_domain::task::State;
use accel_image::{Document, media_type};
use accel_pipeline::{Engine, Outcome, Stop, Tally, convert_image, move_tag};
use accel_test_support::image::Compression;
use accel_test_support::tar::{file, opaque, whiteout};
use accel_test_support::{Fault, FaultyRegistry, ImageBuilder, Request, Rule, nasty_tar, tar};
use serde_json::{Value, json};

use crate::picture::{assert_whole, image, large, made_of, small};
use crate::stage::{APP, Stage};

#[tokio::test]
async fn a2_the_files_are_the_same_and_every_digest_is_right() {
    let stage = Stage::new().await;
    let above = tar(&[whiteout("bin/sh"), opaque("etc"), file("etc/new", b"only this is left of etc")]);
    let source = ImageBuilder::new().layer(&nasty_tar()).layer(&small(1)).layer(&above);
    source.push(stage.content(), APP, Some("1"));
    let task = stage.convert().await;
    stage.assert_same_files(APP, "1", "1-esgz");
    assert_eq!((task.progress.layers_total, task.progress.layers_converted), (3, 3));
    assert_eq!(task.target_digest, stage.digest("library/app:1-esgz"));
    let manifest = stage.manifest(APP, "1-esgz");
    assert_eq!(task.sizes.target, manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>());
    assert_eq!(made_of(&manifest.annotations), task.digest.unwrap());
    assert_eq!(stage.content().uploads_open(), 0);
}

#[tokio::test]
async fn a4_a_second_run_in_one_time_mode_converts_no_layer() {
    let stage = Stage::new().await;
    image().push(stage.content(), APP, Some("1"));
    let (job, engine) = (stage.job(), Engine::new(2));
    let run = async || {
        let (tally, stop) = (Tally::default(), Stop::new());
        stage.registry.forget_requests();
        let outcome = convert_image(&engine, &*stage.store, &job, &tally, stop.signal(), Timestamp::now).await.unwrap();
        if let Outcome::Converted(image) = &outcome {
            move_tag(&job, image).await.unwrap();
        }
        (outcome, tally.seen().1)
    };
    let (_, first) = run().await;
    assert_eq!((first.layers_converted, first.layers_reused), (2, 0));
    let (outcome, second) = run().await;
    assert!(matches!(outcome, Outcome::AlreadyThere { .. }));
    assert_eq!((second.layers_total, stage.count(Request::BlobGet)), (0, 0));
    stage.content().remove_manifest(APP, "1-esgz");
    let (_, third) = run().await;
    assert_eq!((third.layers_converted, third.layers_reused, third.bytes_read), (0, 2, 0));
    stage.assert_same_files(APP, "1", "1-esgz");
}

/// The names of the regular files that this process has open.
#[cfg(target_os = "linux")]
fn open_files() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let files = open.filter(|open| std::fs::metadata(open).is_ok_and(|metadata| metadata.is_file()));
    files.filter_map(|file| std::fs::read_link(file).ok()).map(|name| name.display().to_string()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn c21_no_file_but_the_store_is_open_while_a_layer_streams() {
    let stage = Stage::new().await;
    let pushed = ImageBuilder::new().layer(&large(1)).push(stage.content(), APP, Some("1"));
    let stalled = Rule::on(Request::BlobGet, Fault::Stalled { after: 4 << 20 }).path(pushed.layers[0].digest);
    stage.registry.rule(stalled);
    let id = stage.admit(&stage.task()).await;
    let converter = stage.converter();
    let before = open_files(); // where the output of the tests goes, say
    let looking = async {
        stage.registry.stalled(1).await;
        // Other tests of this process have stores of their own, and read the system's certificates.
        let others_too = |name: &String| name.contains("accel.redb") || name.contains("certificates");
        let new = open_files().into_iter().filter(|name| !before.contains(name) && !others_too(name));
        let others: Vec<_> = new.collect();
        stage.registry.release();
        others
    };
    let (_, others) = tokio::join!(stage.settle_one(&converter), looking);
    assert_eq!((stage.get(&id).await.state, others), (State::Completed, vec![]));
    assert!(stage.store_bytes() < pushed.layers[0].size / 2, "nor does the store grow with the image");
}

#[tokio::test]
async fn layers_of_every_compression_become_gzip() {
    for compression in [Compression::None, Compression::Zstd, Compression::GzipMembers(10_000)] {
        let stage = Stage::new().await;
        ImageBuilder::new().packed(&small(1), compression).layer(&small(2)).push(stage.content(), APP, Some("1"));
        stage.convert().await;
        stage.assert_same_files(APP, "1", "1-esgz");
        let types: Vec<_> = stage.manifest(APP, "1-esgz").layers.into_iter().map(|layer| layer.media_type).collect();
        assert_eq!(types, [media_type::OCI_LAYER_GZIP; 2], "{compression:?}");
    }
}

#[tokio::test]
async fn docker_media_types_become_oci_and_unknown_fields_stay() {
    let stage = Stage::new().await;
    let source = image().docker().config("future", json!({"of": ["docker"]})).annotation("kept", "yes");
    source.push(stage.content(), APP, Some("1"));
    stage.convert().await;
    stage.assert_same_files(APP, "1", "1-esgz");
    let manifest = stage.manifest(APP, "1-esgz");
    assert_eq!(manifest.media_type, media_type::OCI_MANIFEST);
    assert_eq!(manifest.config.media_type, media_type::OCI_CONFIG);
    assert!(manifest.layers.iter().all(|layer| layer.media_type == media_type::OCI_LAYER_GZIP));
    assert_eq!(manifest.annotations["kept"], "yes");
    let stored = stage.content().manifest(APP, "1-esgz").unwrap();
    assert_eq!(stored.media_type, media_type::OCI_MANIFEST);
    let config: Value = serde_json::from_slice(&stage.content().blob(APP, manifest.config.digest).unwrap()).unwrap();
    assert_eq!((&config["future"], &config["config"]["Cmd"]), (&json!({"of": ["docker"]}), &json!(["/bin/sh"])));
}

#[tokio::test]
async fn an_image_without_layers_is_converted_too() {
    let stage = Stage::new().await;
    ImageBuilder::new().push(stage.content(), APP, Some("1"));
    stage.convert().await;
    assert_whole(stage.content(), APP, &stage.manifest(APP, "1-esgz"));
}

#[tokio::test]
async fn what_is_no_container_image_is_left_alone() {
    let stage = Stage::new().await;
    let config = stage.content().put_blob(APP, "{}");
    let chart = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config, "size": 2},
        "layers": [],
    });
    stage.content().put_manifest(APP, "1", media_type::OCI_MANIFEST, chart.to_string());
    let task = stage.run(stage.task()).await;
    assert_eq!((task.state, task.reason.as_str()), (State::Completed, "not a container image"));
    assert_eq!((stage.content().tags(APP), stage.changes()), (vec!["1".to_owned()], vec![]));
}

#[tokio::test]
async fn the_result_is_the_same_wherever_it_is_made() {
    let mut made = Vec::new();
    for _ in 0..2 {
        let stage = Stage::on(FaultyRegistry::start().await);
        image().push(stage.content(), APP, Some("1"));
        stage.convert().await;
        let Document::Manifest(manifest) = stage.document(APP, "1-esgz") else { panic!("not a manifest") };
        made.push((manifest.config, manifest.layers));
    }
    assert_eq!(made[0], made[1]);
}
