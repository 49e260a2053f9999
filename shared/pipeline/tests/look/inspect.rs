//! What is said of images and layers of every kind, and how little is read for it.

use accel_domain::{ByteSize, EstargzOptions, marker};
use accel_driver_estargz::TOC_DIGEST;
use accel_image::Digest;
use accel_pipeline::{InspectError, Landmark, LayerFormat, inspect_image};
use accel_stream::Limits;
use accel_test_support::image::{Compression, Dialect, Layer};
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink};
use accel_test_support::{Entry, ImageBuilder, IndexBuilder, Request, tar};
use serde_json::json;

use crate::stage::{APP, Stage, converted, converted_with, marked};

fn layer() -> Vec<Entry> {
    vec![
        dir("d/"),
        file("d/small", vec![1; 100]),
        file("d/large", vec![2; 10_000]),
        hardlink("h", "d/small"),
        symlink("s", "h"),
        char_device("null", 1, 3),
        file("empty", b""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_what_a_toc_holds() {
    let stage = Stage::new().await;
    let options = EstargzOptions { chunk_size: ByteSize(4096), ..EstargzOptions::default() };
    let layer = converted_with(&tar(&layer()), options).annotation(marker::LAYER, "estargz/1 abc");
    let source = Digest::of(b"source");
    let pushed = marked(ImageBuilder::new().with(layer), source).push(stage.content(), APP, Some("1"));
    let report = stage.inspect("1").await;
    assert_eq!(report.digest, pushed.manifest.digest);
    let origin = report.origin.unwrap();
    assert_eq!((origin.source_digest, origin.format.as_str()), (source, "estargz/1"));
    let [image] = &report.images[..] else { panic!("{:?}", report.images) };
    assert_eq!(image.size, pushed.config.size + pushed.layers[0].size);
    let layer = &image.layers[0];
    assert_eq!((layer.format, layer.size), (LayerFormat::Estargz, pushed.layers[0].size));
    assert_eq!((layer.made_with.as_deref(), layer.problem.as_deref()), (Some("estargz/1 abc"), None));
    assert!(layer.uncompressed_size > Some(10_000));
    let toc = layer.toc.as_ref().unwrap();
    assert_eq!(toc.digest_agrees, Some(true));
    assert_eq!((toc.files, toc.directories, toc.symlinks, toc.hardlinks, toc.others), (3, 1, 1, 1, 1));
    assert_eq!((toc.file_bytes, toc.chunks), (10_100, 4));
    assert_eq!(toc.landmark, Landmark::NoPrefetch);
    let largest = toc.largest.as_ref().unwrap();
    assert_eq!((largest.name.as_str(), largest.size), ("d/large", 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_is_fetched_ahead() {
    let stage = Stage::new().await;
    let options = EstargzOptions { prefetch: vec!["/d/large".into()], ..EstargzOptions::default() };
    let image = ImageBuilder::new().with(converted_with(&tar(&layer()), options));
    image.push(stage.content(), APP, Some("1"));
    let report = stage.inspect("1").await;
    let toc = report.images[0].layers[0].toc.clone().unwrap();
    let Landmark::Prefetch { entries, file_bytes, blob_bytes } = toc.landmark else { panic!("{:?}", toc.landmark) };
    assert_eq!((entries, file_bytes), (2, 10_000));
    assert!(blob_bytes > 0 && blob_bytes < report.images[0].layers[0].size);
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_formats_apart() {
    let stage = Stage::new().await;
    let tar = tar(&layer());
    let pack = |compression| Layer::pack(&tar, compression, Dialect::Oci);
    let chunked = "io.github.containers.zstd-chunked.manifest-checksum";
    let none = Digest::of(b"");
    let rows = [
        (pack(Compression::None), LayerFormat::Plain, None),
        (pack(Compression::Gzip), LayerFormat::Gzip, None),
        (pack(Compression::Zstd), LayerFormat::Zstd, None),
        (pack(Compression::Zstd).annotation(chunked, "x"), LayerFormat::ZstdChunked, None),
        (Layer::foreign(&tar), LayerFormat::Foreign, None),
        (converted(&tar), LayerFormat::Estargz, None),
        (pack(Compression::Gzip).annotation(TOC_DIGEST, "x"), LayerFormat::Gzip, Some("names a TOC, but the footer")),
        (converted(&tar).annotation(TOC_DIGEST, &none.to_string()), LayerFormat::Estargz, Some("another digest")),
        (Layer::raw("application/vnd.oci.image.layer.v1.tar", Vec::new(), none), LayerFormat::Plain, None),
    ];
    let image = rows.iter().fold(ImageBuilder::new(), |image, (layer, ..)| image.with(layer.clone()));
    image.push(stage.content(), APP, Some("1"));
    let report = stage.inspect("1").await;
    for (layer, (_, format, problem)) in report.images[0].layers.iter().zip(&rows) {
        assert_eq!(layer.format, *format, "{layer:?}");
        match problem {
            None => assert_eq!(layer.problem, None),
            Some(expected) => assert!(layer.problem.as_ref().unwrap().contains(expected), "{layer:?}"),
        }
    }
    assert!(report.origin.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_platforms_and_attestations() {
    let stage = Stage::new().await;
    let content = stage.content();
    let images = ["linux/amd64", "linux/arm64"]
        .map(|platform| ImageBuilder::new().platform(platform).layer(&tar(&layer())).push(content, APP, None));
    let index = IndexBuilder::new().image(&images[0]).image(&images[1]).attestation(content, APP, &images[0]);
    index.push(content, APP, Some("1"));
    let report = stage.inspect("1").await;
    assert!(report.is_index);
    let platforms: Vec<&str> = report.images.iter().map(|image| image.platform.as_str()).collect();
    assert_eq!((platforms, report.attestations), (vec!["linux/amd64", "linux/arm64"], 1));
    let text = serde_json::to_value(&report).unwrap();
    assert_eq!(text["images"][1]["layers"][0]["format"], "gzip");
    assert_eq!(text["origin"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_no_layer_whole() {
    let stage = Stage::new().await;
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let noise: Vec<u8> = (0..2 << 20).map(|_| noise()).collect();
    let large = tar(&[file("large", noise), file("small", b"x")]);
    let pushed = ImageBuilder::new().with(converted(&large)).push(stage.content(), APP, Some("1"));
    assert!(pushed.layers[0].size > 1 << 20);
    stage.registry.forget_requests();
    stage.inspect("1").await;
    let read = stage.registry.bytes_downloaded();
    assert!(read < pushed.config.size + 4096, "{read} bytes");
    assert!(stage.registry.requests_of(Request::BlobGet).len() <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_an_error() {
    let stage = Stage::new().await;
    assert!(matches!(inspect_image(&stage.end(), "none", Limits::default()).await, Err(InspectError::Image(_))));
    ImageBuilder::new().push(stage.content(), APP, Some("1"));
    let mut chart = stage.document("1");
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    stage.put_manifest("1", &chart);
    let error = inspect_image(&stage.end(), "1", Limits::default()).await.unwrap_err();
    assert!(matches!(error, InspectError::NotAnImage(_)), "{error}");
}
