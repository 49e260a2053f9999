//! `accelctl convert` from a registry to itself.

use accel_test_support::faults::{Fault, Request, Rule};
use accel_test_support::{ImageBuilder, sparse_tar};
use serde_json::json;

use crate::machine::{Machine, REPOSITORY, Ran, differences, digest, files, finish, two_layers};

#[tokio::test]
async fn the_first_run_converts_and_the_second_moves_no_layer() {
    let machine = Machine::new().await;
    let pushed = two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let report = machine.convert(&[&machine.image("1")]).await;

    assert_eq!(report["outcome"], "converted");
    assert_eq!(report["source"], machine.image("1"));
    assert_eq!(report["target"], machine.image("1-esgz"));
    assert_eq!(digest(&report, "source_digest"), pushed.manifest.digest);
    let stored = machine.content().manifest(REPOSITORY, "1-esgz").unwrap();
    assert_eq!(digest(&report, "target_digest"), stored.digest);
    assert_eq!(report["layers"], json!({"total": 2, "converted": 2, "reused": 0, "mounted": 0, "kept": 0}));
    assert_eq!(report["kept"], json!([]));
    let sizes = ["source_size", "target_size"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(sizes[0], pushed.config.size + pushed.layers.iter().map(|layer| layer.size).sum::<u64>());
    assert!(sizes[1] > 0);
    for phase in ["resolve", "convert", "push", "tag"] {
        assert!(report["phases_ms"][phase].is_u64(), "{report}");
    }
    assert_eq!(differences(machine.content(), "1", "1-esgz"), Vec::<String>::new());

    machine.registry.forget_requests();
    let again = machine.convert(&[&machine.image("1")]).await;
    assert_eq!(again["outcome"], "already accelerated");
    assert_eq!(again["target_digest"], report["target_digest"]);
    assert_eq!((machine.registry.bytes_uploaded(), machine.registry.bytes_downloaded()), (0, 0));

    let told = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert!(told.code == Some(0) && told.stdout.contains("already accelerated"), "{told:?}");
    assert!(!told.stdout.contains("0 B") && told.stdout.contains(&stored.digest.to_string()), "{told:?}");
}

#[tokio::test]
async fn a_new_tag_on_the_same_layers_moves_none_of_them() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    two_layers("b").push(machine.content(), REPOSITORY, Some("2"));
    machine.convert(&[&machine.image("1")]).await;
    let report = machine.convert(&[&machine.image("2")]).await;
    assert_eq!(report["layers"], json!({"total": 2, "converted": 0, "reused": 2, "mounted": 0, "kept": 0}));
    assert_eq!((&report["bytes_read"], &report["bytes_written"]), (&json!(0), &json!(0)));
    let ends: Vec<_> = report["details"].as_array().unwrap().iter().map(|layer| &layer["end"]).collect();
    assert_eq!(ends, ["reused", "reused"]);
}

#[tokio::test]
async fn layers_are_mounted_into_another_repository_of_the_project() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    machine.convert(&[&machine.image("1")]).await;
    let other = format!("{}/team/other:1", machine.registry.host());
    let report = machine.convert(&[&machine.image("1"), &other]).await;
    assert_eq!(report["layers"]["mounted"], 2, "{report}");
    assert_eq!(report["bytes_written"], 0);
}

#[tokio::test]
async fn without_the_cache_nothing_is_remembered() {
    let machine = Machine::new().await;
    for (label, tag) in [("a", "1"), ("b", "2")] {
        two_layers(label).push(machine.content(), REPOSITORY, Some(tag));
        let report = machine.convert(&[&machine.image(tag), "--no-cache"]).await;
        assert_eq!(report["layers"]["converted"], 2, "{report}");
    }
    assert_eq!(files(&machine.path("cache/accel/layers")), 0);
    two_layers("c").push(machine.content(), REPOSITORY, Some("3"));
    machine.convert(&[&machine.image("3")]).await;
    assert_eq!(files(&machine.path("cache/accel/layers")), 2);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_fails_nothing() {
    let machine = Machine::new().await;
    machine.write("cache", "a file where the directory should be");
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let ran = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr.matches("layer records cannot be kept").count(), 1, "{ran:?}");
}

#[tokio::test]
async fn a_layer_that_cannot_be_represented_is_kept_and_reported() {
    let machine = Machine::new().await;
    let pushed = ImageBuilder::new().layer(&sparse_tar()).push(machine.content(), REPOSITORY, Some("1"));
    let report = machine.convert(&[&machine.image("1")]).await;
    assert_eq!(report["layers"]["kept"], 1, "{report}");
    assert_eq!(digest(&report["kept"][0], "digest"), pushed.layers[0].digest);
    assert!(report["kept"][0]["reason"].as_str().unwrap().contains("old-gnu"), "names the entry: {report}");
}

#[tokio::test]
async fn plain_http_is_spoken_only_where_it_is_named() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let ran = machine.run(&["convert", &machine.image("1")]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("--plain-http"), "{ran:?}");
    let ran = machine.run(&["convert", &machine.image("1"), "--plain-http", "other.example:5000"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains(&machine.registry.host()), "{ran:?}");
    assert_eq!(machine.registry.requests().len(), 0);
}

#[tokio::test]
async fn a_failure_tells_whether_it_may_pass() {
    let machine = Machine::new().await;
    let ran = machine.run(&machine.convert_args(&[&machine.image("missing")])).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: ") && ran.stderr.contains("missing"), "{ran:?}");

    machine.registry.rule(Rule::on(Request::ManifestGet, Fault::retry_after(503, "3600")));
    let ran = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");

    for args in [&["convert"][..], &["convert", "UPPER CASE"], &["convert", "h.example/r:1", "--level", "99"]] {
        assert_eq!(machine.run(args).await.code, Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn a_target_of_somebody_else_is_not_replaced_unless_adopted() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let foreign = two_layers("b").push(machine.content(), REPOSITORY, Some("1-esgz"));
    let ran = machine.run(&machine.convert_args(&[&machine.image("1")])).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("--adopt"), "{ran:?}");
    assert_eq!(machine.content().manifest(REPOSITORY, "1-esgz").unwrap().digest, foreign.manifest.digest);
    let report = machine.convert(&[&machine.image("1"), "--adopt"]).await;
    assert_eq!(report["outcome"], "converted");
}

#[tokio::test]
async fn a_result_is_not_converted_again_and_scripts_hear_that_there_is_no_target() {
    let machine = Machine::new().await;
    let pushed = two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    machine.convert(&[&machine.image("1")]).await;
    let (source, host) = (machine.image("1-esgz"), machine.registry.host());
    for (target, made) in [(None, "1-esgz-esgz"), (Some(machine.image("named")), "named")] {
        let args: Vec<&str> = ["convert", &source].into_iter().chain(target.as_deref()).collect();
        let ran = machine.run(&[&args[..], &["--plain-http", &host]].concat()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""), "{ran:?}");
        for expected in [format!("of {}\n", machine.image("1")), machine.image(made), "copy the image".to_owned()] {
            assert!(ran.stderr.contains(&expected), "{expected}: {ran:?}");
        }
        assert!(machine.content().manifest(REPOSITORY, made).is_none());
        let ran = machine.run(&machine.convert_args(&args[1..])).await;
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &report["outcome"]), (Some(5), &json!("already accelerated")), "{ran:?}");
        assert_eq!(report["origin"]["source"], machine.image("1"));
        assert_eq!(digest(&report["origin"], "source_digest"), pushed.manifest.digest);
    }
}

#[tokio::test]
async fn a_signal_stops_a_conversion_and_its_upload() {
    for signal in ["-INT", "-TERM"] {
        let machine = Machine::new().await;
        two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
        machine.registry.rule(Rule::on(Request::UploadPatch, Fault::Hang));
        let (source, host) = (machine.image("1"), machine.registry.host());
        let child = machine.command(&["convert", &source, "--plain-http", &host]).spawn().unwrap();
        machine.registry.stalled(1).await;
        let id = child.id().unwrap().to_string();
        let sent = finish(tokio::process::Command::new("kill").args([signal, &id])).await;
        assert_eq!(sent.code, Some(0));
        machine.registry.clear_rules();
        let ran = Ran::from(child.wait_with_output().await.unwrap());
        assert_eq!(ran.code, Some(130), "{signal}: {ran:?}");
        assert!(machine.content().manifest(REPOSITORY, "1-esgz").is_none());
    }
}
