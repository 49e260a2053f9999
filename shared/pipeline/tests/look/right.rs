//! Targets that are right, as the pipeline itself makes them.

use std::sync::Arc;

use accel_domain::{Attestations, EstargzOptions, Format, FormatOptions, NydusOptions, Output};
use accel_image::Digest;
use accel_pipeline::{VerifyOptions, verify_image};
use accel_test_support::image::Compression;
use accel_test_support::tar::{file, replaced_tar};
use accel_test_support::{ImageBuilder, IndexBuilder, nasty_tar, sparse_tar, tar};

use crate::stage::{APP, Events, Stage, converted, marked, plain};

/// Converts tag `1` into tag `1-esgz`.
async fn convert(stage: &Stage, output: Output) {
    Box::pin(stage.convert(output, "1-esgz")).await;
}

fn output() -> Output {
    Output::new(Format::Estargz.default_options())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_converted_image_is_right_layer_by_layer() {
    let stage = Stage::new().await;
    ImageBuilder::new()
        .docker()
        .layer(&nasty_tar())
        .packed(&tar(&[file("a", b"second layer")]), Compression::Zstd)
        .packed(&tar(&[]), Compression::None)
        .layer(&sparse_tar())
        .layer(&replaced_tar())
        .layer(&nasty_tar())
        .push(stage.content(), APP, Some("1"));
    convert(&stage, output()).await;
    let report = stage.verify("1", "1-esgz").await;
    assert_eq!(report.differences, Vec::<String>::new());
    assert!(report.is_right() && report.marked);
    assert_eq!(report.platforms, ["linux/amd64"]);
    assert_eq!((report.layers_checked, report.layers_kept), (3, 2), "one is there twice");
    assert!(report.entries > 50 && report.chunks > 30 && report.bytes > 100_000, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_makes_right_images() {
    for options in [
        EstargzOptions { chunk_size: accel_domain::ByteSize(65_536), ..EstargzOptions::default() },
        EstargzOptions { min_chunk_size: accel_domain::ByteSize(65_536), ..EstargzOptions::default() },
        EstargzOptions { prefetch: vec!["/home/*".into(), "/large".into()], ..EstargzOptions::default() },
    ] {
        let stage = Stage::new().await;
        ImageBuilder::new().layer(&nasty_tar()).push(stage.content(), APP, Some("1"));
        convert(&stage, Output::new(FormatOptions::Estargz(options))).await;
        let report = stage.verify("1", "1-esgz").await;
        assert_eq!(report.differences, Vec::<String>::new());
        assert_eq!(report.layers_checked, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_right_platform_by_platform() {
    let stage = Stage::new().await;
    let content = stage.content();
    let shared = tar(&[file("shared", b"by both")]);
    let images = ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"].map(|platform| {
        let own = tar(&[file("platform", platform)]);
        ImageBuilder::new().platform(platform).layer(&shared).layer(&own).push(content, APP, None)
    });
    let index =
        images.iter().fold(IndexBuilder::new(), |index, image| index.image(image).attestation(content, APP, image));
    index.annotation("of", "the index").push(content, APP, Some("1"));

    convert(&stage, Output { attestations: Attestations::Carry, ..output() }).await;
    let report = stage.verify("1", "1-esgz").await;
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.platforms, ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]);
    assert_eq!((report.layers_checked, report.layers_kept), (4, 0));

    let amd64: accel_image::Platform = "linux/amd64".parse().unwrap();
    let arm64: accel_image::Platform = "linux/arm64".parse().unwrap();
    stage.content().remove_manifest(APP, "1-esgz");
    convert(&stage, Output { platforms: vec![amd64.clone()], ..output() }).await;
    let report = stage.verify("1", "1-esgz").await;
    assert_eq!(report.differences, Vec::<String>::new(), "a target may have fewer platforms");
    assert_eq!(report.platforms_left_out, ["linux/arm64/v8", "linux/arm/v7"]);
    let options = VerifyOptions { platforms: vec![amd64, arm64], ..VerifyOptions::default() };
    let report = stage.try_verify("1", "1-esgz", &options).await.unwrap();
    assert_eq!(report.differences, ["linux/arm64/v8: the target has no such image"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_index_says_of_the_sources_own_bytes_is_not_missed() {
    let merged = NydusOptions { merge_manifest: true, ..NydusOptions::default() };
    let nydus = NydusOptions::default();
    for options in [FormatOptions::Nydus(merged), FormatOptions::Nydus(nydus), output().options] {
        let stage = Stage::new().await;
        let content = stage.content();
        let entries = [Compression::Gzip, Compression::Zstd].map(|compression| {
            let own = tar(&[file(format!("{compression:?}"), b"one of two for the same platform")]);
            let image = ImageBuilder::new().packed(&own, compression).push(content, APP, None);
            let mut entry = image.manifest;
            entry.annotations.insert("kept".to_owned(), "yes".to_owned());
            entry.other.insert("data".to_owned(), "e30=".into());
            if compression == Compression::Zstd {
                entry.annotations.insert("io.github.containers.compression.zstd".to_owned(), "true".to_owned());
            }
            entry
        });
        entries.into_iter().fold(IndexBuilder::new(), IndexBuilder::entry).push(content, APP, Some("1"));
        convert(&stage, Output::new(options.clone())).await;
        let report = stage.verify("1", "1-esgz").await;
        assert_eq!((report.differences, report.layers_checked), (vec![], 2), "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_and_the_same_image_is_right() {
    let stage = Stage::new().await;
    let image = ImageBuilder::new().layer(&tar(&[])).push(stage.content(), APP, Some("1"));
    let report = stage.verify("1", &image.manifest.digest.to_string()).await;
    assert!(report.is_right());
    assert_eq!((report.source, report.target), (image.manifest.digest, image.manifest.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sees_every_layer() {
    let stage = Stage::new().await;
    let (one, two) = (tar(&[file("a", b"1")]), sparse_tar());
    let image = ImageBuilder::new().layer(&one).layer(&two).push(stage.content(), APP, Some("1"));
    let target = ImageBuilder::new().with(converted(&one)).with(plain(&two));
    marked(target, image.manifest.digest).push(stage.content(), APP, Some("2"));
    let (end, events) = (Arc::new(stage.end()), Events::default());
    let report = verify_image((&end, "1"), (&end, "2"), &VerifyOptions::default(), &events).await.unwrap();
    assert_eq!(report.differences, Vec::<String>::new());
    let seen = events.seen();
    assert_eq!(seen[0], "Planned { layers: 2 }");
    for (layer, end) in [(&image.layers[0], "Converted"), (&image.layers[1], "Kept")] {
        let digest: Digest = layer.digest;
        assert!(seen.contains(&format!("LayerStarted {{ layer: {digest:?}, size: {} }}", layer.size)));
        assert!(seen.contains(&format!("LayerDone {{ layer: {digest:?}, end: {end}, reason: \"\" }}")));
    }
    assert!(seen.iter().any(|event| event.starts_with("LayerRead")));
}
