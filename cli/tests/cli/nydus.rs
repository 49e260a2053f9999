//! Nydus on the command line: made, verified, inspected; from and to layouts and archives.

use accel_image::Document;
use serde_json::{Value, json};

use crate::machine::{Machine, REPOSITORY, two_layers};

#[tokio::test]
async fn an_image_is_made_verified_and_shown() {
    let machine = Machine::new().await;
    let pushed = two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let report = machine.convert(&[&machine.image("1"), "--format", "nydus"]).await;
    assert_eq!((&report["outcome"], &report["target"]), (&json!("converted"), &json!(machine.image("1-nydus"))));
    assert_eq!(report["layers"], json!({"total": 2, "converted": 2, "reused": 0, "mounted": 0, "kept": 0}));
    let stored = machine.content().manifest(REPOSITORY, "1-nydus").unwrap();
    let Document::Manifest(manifest) = Document::parse(&stored.bytes, None).unwrap() else { panic!("an index") };
    assert_eq!(manifest.subject.map(|subject| subject.digest), Some(pushed.manifest.digest), "by default");

    let host = machine.registry.host();
    let (source, target) = (machine.image("1"), machine.image("1-nydus"));
    let ran = machine.run(&["verify", &source, &target, "--plain-http", &host]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("holds the same files"), "{ran:?}");
    let other = two_layers("b").push(machine.content(), REPOSITORY, Some("2"));
    assert_ne!(other.manifest.digest, pushed.manifest.digest);
    let ran = machine.run(&["verify", &machine.image("2"), &target, "--plain-http", &host, "--output", "json"]).await;
    assert_eq!(ran.code, Some(4), "{ran:?}");

    let ran = machine.run(&["inspect", &target, "--plain-http", &host, "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let layers = shown["images"][0]["layers"].as_array().unwrap();
    let formats: Vec<_> = layers.iter().map(|layer| layer["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["nydus-blob", "nydus-blob", "nydus-bootstrap"]);
    let bootstrap = &layers[2]["bootstrap"];
    assert_eq!((&bootstrap["fs_version"], &bootstrap["compressor"]), (&json!(6), &json!("zstd")), "{bootstrap}");
    let ran = machine.run(&["inspect", &target, "--plain-http", &host]).await;
    for expected in ["Nydus blob", "Nydus bootstrap", "RAFS 6", "3 layers", "prefetch  1 paths"] {
        assert!(ran.stdout.contains(expected), "{expected}: {ran:?}");
    }
}

#[tokio::test]
async fn a4_a_second_run_converts_no_layer() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let (source, target, host) = (machine.image("1"), machine.image("1-nydus"), machine.registry.host());
    let first = machine.convert(&[&source, "--format", "nydus"]).await;
    let again = machine.convert(&[&source, "--format", "nydus"]).await;
    assert_eq!((&again["outcome"], &again["layers"]["total"]), (&json!("already accelerated"), &json!(0)), "{again}");
    machine.content().remove_manifest(REPOSITORY, "1-nydus");
    let third = machine.convert(&[&source, "--format", "nydus"]).await;
    assert_eq!(third["layers"], json!({"total": 2, "converted": 0, "reused": 2, "mounted": 0, "kept": 0}));
    assert_eq!(third["target_digest"], first["target_digest"]);
    let ran = machine.run(&["verify", &source, &target, "--plain-http", &host]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn options_say_what_is_made() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let options = ["--format", "nydus", "--compressor", "lz4_block", "--chunk-size", "64KiB", "--prefetch", "/etc"];
    let target = machine.image("lz4");
    let report =
        machine.convert(&[&[machine.image("1").as_str(), &target], &options[..], &["--subject=false"]].concat()).await;
    assert_eq!(report["outcome"], "converted");
    let stored = machine.content().manifest(REPOSITORY, "lz4").unwrap();
    let Document::Manifest(manifest) = Document::parse(&stored.bytes, None).unwrap() else { panic!("an index") };
    assert_eq!(manifest.subject, None);
    let ran = machine.run(&["inspect", &target, "--plain-http", &machine.registry.host()]).await;
    assert!(ran.stdout.contains("lz4_block chunks of up to 64.0 KiB"), "{ran:?}");
    let merged = machine.image("merged");
    let report = machine.convert(&[&machine.image("1"), &merged, "--format", "nydus", "--merge-manifest"]).await;
    assert_eq!(report["outcome"], "converted");
    let host = machine.registry.host();
    let ran = machine.run(&["verify", &machine.image("1"), &merged, "--plain-http", &host]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = machine.run(&["inspect", &merged, "--plain-http", &host]).await;
    assert!(ran.stdout.contains("gzip") && ran.stdout.contains("Nydus bootstrap"), "{ran:?}");
}

#[tokio::test]
async fn an_option_of_another_format_is_wrong_usage() {
    let machine = Machine::new().await;
    let rows: [(&[&str], &str); 14] = [
        (&["--format", "nydus", "--level", "5"], "--level is not an option of nydus"),
        (&["--format", "nydus", "--min-chunk-size", "1KiB"], "--min-chunk-size is not an option of nydus"),
        (&["--format", "estargz", "--compressor", "none"], "--compressor is not an option of estargz"),
        (&["--batch-size", "64KiB"], "--batch-size is not an option of estargz"),
        (&["--format", "nydus", "--fs-version", "5", "--batch-size", "4KiB"], "--batch-size: RAFS v5 has no batches"),
        (&["--merge-manifest"], "--merge-manifest is not an option of estargz"),
        (&["--chunk-dictionary", "h.example/d:1"], "--chunk-dictionary is not an option of estargz"),
        (
            &["--format", "nydus", "--fs-version", "5", "--chunk-dictionary", "h.example/d:1"],
            "--chunk-dictionary: h.example/d:1: images of RAFS v5",
        ),
        (&["--oci-ref"], "--oci-ref is not an option of estargz"),
        (&["--fs-version", "6"], "--fs-version is not an option of estargz"),
        (&["--format", "nydus", "--fs-version", "4"], "--fs-version: 4 is not a version of RAFS"),
        (&["--format", "nydus", "--chunk-size", "3MiB"], "--chunk-size: 3MiB is not a power of two"),
        (&["--format", "nydus", "--compressor", "gzip"], "zstd, lz4_block, none"),
        (&["--format", "zip"], "estargz, nydus"),
    ];
    for (options, expected) in rows {
        let ran = machine.run(&[&["convert", "h.example/a:1"], options].concat()).await;
        assert!(ran.code == Some(2) && ran.stderr.contains(expected), "{options:?}: {ran:?}");
    }
}

#[tokio::test]
async fn layouts_and_archives_hold_nydus_too() {
    let machine = Machine::new().await;
    two_layers("a").push(machine.content(), REPOSITORY, Some("1"));
    let (host, source) = (machine.registry.host(), machine.image("1"));
    let dictionary = machine.image("dictionary");
    machine.convert(&[&source, &dictionary, "--format", "nydus"]).await;
    let beside: &[&str] = &["--chunk-dictionary", &dictionary];
    let rows: [(&str, &[&str]); 3] = [("oci:made:1", &[]), ("oci-archive:made.tar:1", &[]), ("oci:beside:1", beside)];
    for (target, options) in rows {
        let args = ["convert", &source, target, "--format", "nydus", "--plain-http", &host, "--no-cache"];
        let ran = machine.run(&[&args[..], options].concat()).await;
        assert_eq!(ran.code, Some(0), "{target}: {ran:?}");
        let ran = machine.run(&["verify", &source, target, "--plain-http", &host]).await;
        assert_eq!(ran.code, Some(0), "{target}: {ran:?}");
    }
}
