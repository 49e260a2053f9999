//! Nydus images: right, wrong in every way that can be told, and inspected.

use accel_domain::{ByteSize, Format, FormatOptions, NydusCompressor, NydusOptions, Output};
use accel_image::{Descriptor, Digest, media_type};
use accel_pipeline::LayerFormat;
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink, whiteout};
use accel_test_support::{Entry, Fault, ImageBuilder, Request, Rule, compress, nasty_tar, tar};
use serde_json::{Value, json};

use crate::stage::{APP, Stage};

fn output() -> Output {
    Output::new(Format::Nydus.default_options())
}

pub(crate) fn base() -> Vec<Entry> {
    vec![
        dir("d/").mode(0o750),
        file("d/small", vec![1; 100]).xattr("user.a", "1"),
        file("d/large", (0..100_000_u32).map(|at| (at / 7) as u8).collect::<Vec<_>>()),
        hardlink("h", "d/small"),
        symlink("s", "h"),
        char_device("null", 1, 3),
        file("gone", b"below"),
    ]
}

pub(crate) fn top() -> Vec<Entry> {
    vec![whiteout("gone"), hardlink("d/other", "d/large"), file("empty", b"")]
}

/// Tag `1`, and tag `2` made of it.
async fn converted() -> Stage {
    let stage = Stage::new().await;
    let image = ImageBuilder::new().layer(&tar(&base())).layer(&tar(&top()));
    image.push(stage.content(), APP, Some("1"));
    Box::pin(stage.convert(output(), "2")).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_makes_right_images() {
    let rows = [
        NydusOptions::default(),
        NydusOptions { compressor: NydusCompressor::Lz4Block, ..NydusOptions::default() },
        NydusOptions { compressor: NydusCompressor::None, chunk_size: ByteSize(4096), ..NydusOptions::default() },
        NydusOptions { chunk_size: ByteSize(4 << 20), prefetch: Vec::new(), ..NydusOptions::default() },
        NydusOptions { prefetch: vec!["/home".into(), "/nothing".into()], ..NydusOptions::default() },
        NydusOptions { fs_version: 5, ..NydusOptions::default() },
        NydusOptions { batch_size: ByteSize(1 << 20), ..NydusOptions::default() },
        NydusOptions {
            compressor: NydusCompressor::Lz4Block,
            chunk_size: ByteSize(4096),
            batch_size: ByteSize(4096),
            ..NydusOptions::default()
        },
        NydusOptions { oci_ref: true, ..NydusOptions::default() },
        NydusOptions { oci_ref: true, chunk_size: ByteSize(4096), ..NydusOptions::default() },
    ];
    for options in rows {
        let stage = Stage::new().await;
        let image = ImageBuilder::new().layer(&nasty_tar()).layer(&tar(&base())).layer(&tar(&top()));
        image.push(stage.content(), APP, Some("1"));
        Box::pin(stage.convert(Output::new(FormatOptions::Nydus(options.clone())), "2")).await;
        let report = stage.verify("1", "2").await;
        assert_eq!(report.differences, Vec::<String>::new(), "{options:?}");
        assert_eq!((report.layers_checked, report.layers_kept, report.marked), (3, 0, true));
        assert!(report.entries > 50 && report.chunks > 20 && report.bytes > 100_000, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_between_the_file_systems_is_named() {
    type Edit = fn(&mut Vec<Entry>, &mut Vec<Entry>);
    let rows: [(&str, Edit); 14] = [
        ("/d/small: the source has other", |base, _| base[1] = file("d/small", vec![2; 100]).xattr("user.a", "1")),
        ("/d/small: the source has other", |base, _| base[1] = file("d/small", vec![1; 101]).xattr("user.a", "1")),
        ("/d/small: the source has other", |base, _| base[1] = file("d/small", vec![1; 100]).xattr("user.a", "2")),
        ("/d/small: the source has other", |base, _| base[1] = file("d/small", vec![1; 100])),
        ("/d: the source has other", |base, _| base[0] = dir("d/").mode(0o751)),
        ("/d: the source has other", |base, _| base[0] = dir("d/").mode(0o750).uid(1)),
        ("/d: the source has other", |base, _| base[0] = dir("d/").mode(0o750).mtime(1)),
        ("/s: the source has other", |base, _| base[4] = symlink("s", "d")),
        ("/null: the source has other", |base, _| base[5] = char_device("null", 1, 4)),
        ("/h: it is one file with other paths", |base, _| base[3] = file("h", vec![1; 100]).xattr("user.a", "1")),
        ("/empty: the source does not have it", |_, top| drop(top.pop())),
        ("/more: the target does not have it", |_, top| top.push(file("more", b""))),
        ("/gone: the target does not have it", |_, top| drop(top.remove(0))),
        ("/d/other: the source does not have it", |_, top| drop(top.remove(1))),
    ];
    let stage = converted().await;
    assert_eq!(stage.verify("1", "2").await.differences, Vec::<String>::new());
    for (expected, edit) in rows {
        let (mut base, mut top) = (base(), top());
        edit(&mut base, &mut top);
        ImageBuilder::new().layer(&tar(&base)).layer(&tar(&top)).push(stage.content(), APP, Some("1"));
        let found = stage.verify("1", "2").await.differences;
        assert!(found.iter().any(|found| found.contains(expected)), "{found:?} instead of {expected}");
    }
}

/// Tag `2`, made of a tag `1` of three layers, of which the second has no contents.
async fn converted_with(options: NydusOptions) -> Stage {
    let stage = Stage::new().await;
    let last = tar(&[file("new", vec![3; 5000])]);
    ImageBuilder::new().layer(&tar(&base())).layer(&tar(&top())).layer(&last).push(stage.content(), APP, Some("1"));
    Box::pin(stage.convert(Output::new(FormatOptions::Nydus(options)), "2")).await;
    assert_eq!(stage.verify("1", "2").await.differences, Vec::<String>::new());
    stage
}

/// Another layer in tag `2`, before that of this number.
pub(crate) fn insert(stage: &Stage, at: usize, layer: &Value) {
    stage.edit_config(|config| {
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().insert(at, layer["digest"].clone());
    });
    stage.edit_manifest(|manifest| manifest["layers"].as_array_mut().unwrap().insert(at, layer.clone()));
}

/// A blob that no image has, as manifests list them.
pub(crate) fn stray(stage: &Stage) -> Value {
    let bytes = vec![b'x'; 5000];
    let mut layer = Descriptor::of(media_type::NYDUS_BLOB, &bytes);
    layer.annotations.insert("containerd.io/snapshot/nydus-blob".to_owned(), "true".to_owned());
    stage.content().put_blob(APP, bytes);
    json!(layer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_blob_is_named_wherever_it_lies() {
    let rows = [
        NydusOptions::default(),
        NydusOptions { fs_version: 5, ..NydusOptions::default() },
        NydusOptions { oci_ref: true, ..NydusOptions::default() },
    ];
    let key = "containerd.io/snapshot/nydus-ref";
    for options in rows {
        let right = converted_with(options.clone()).await;
        let layers = right.document("2")["layers"].clone();
        for (at, other) in (0..=3).flat_map(|at| [None, Some(0), Some(1), Some(2)].map(|other| (at, other))) {
            let stage = converted_with(options.clone()).await;
            let mut layer = other.map_or_else(|| stray(&stage), |other: usize| layers[other].clone());
            if let Some(said) = layers[at]["annotations"].get(key) {
                layer["annotations"][key] = said.clone();
            }
            insert(&stage, at, &layer);
            let found = stage.verify("1", "2").await.differences;
            let is_named = found.iter().any(|what| what.contains("no layer of") || what.contains("does not stand for"));
            assert!(is_named, "{other:?} at {at} of {options:?}: {found:?}");
        }
    }
}

/// A manifest whose last layer is this blob.
fn end_with(stage: &Stage, blob: &[u8]) {
    let mut manifest = stage.document("2");
    let at = manifest["layers"].as_array().unwrap().len() - 1;
    let mut layer: Descriptor = serde_json::from_value(manifest["layers"][at].clone()).unwrap();
    layer = Descriptor { annotations: layer.annotations, ..Descriptor::of(media_type::OCI_LAYER_GZIP, blob) };
    stage.content().put_blob(APP, blob.to_vec());
    manifest["layers"][at] = json!(layer);
    stage.put_manifest("2", &manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_thing_about_the_image_is_named() {
    type Edit = fn(&Stage);
    fn forget(manifest: &mut Value, layer: usize, key: &str) {
        manifest["layers"][layer]["annotations"].as_object_mut().unwrap().remove(key);
    }
    fn say(stage: &Stage, key: &str, value: &str) {
        let key = format!("containerd.io/snapshot/nydus-{key}");
        stage.edit_manifest(|manifest| manifest["annotations"][key] = json!(value));
    }
    let rows: [(&str, Edit); 16] = [
        ("that its manifest was made of another", |stage| say(stage, "source-digest", &Digest::of(b"").to_string())),
        ("another version of the file system", |stage| say(stage, "fs-version", "5")),
        ("more than diff ids and the history", |stage| {
            stage.edit_config(|config| config["config"]["Cmd"] = json!(["/evil"]))
        }),
        ("more than diff ids and the history", |stage| {
            stage.edit_config(|config| drop(config.as_object_mut().unwrap().remove("history")));
        }),
        ("stands for no layer of the source, and the bootstrap does not name it", |stage| {
            let id = stage.config("2")["rootfs"]["diff_ids"][0].clone();
            stage.edit_config(|config| config["rootfs"]["diff_ids"].as_array_mut().unwrap().insert(0, id));
            let layer = stage.document("2")["layers"][0].clone();
            stage.edit_manifest(|manifest| manifest["layers"].as_array_mut().unwrap().insert(0, layer));
        }),
        ("another number of layers", |stage| {
            stage.edit_config(|config| drop(config["rootfs"]["diff_ids"].as_array_mut().unwrap().remove(1)));
            stage.edit_manifest(|manifest| drop(manifest["layers"].as_array_mut().unwrap().remove(1)));
        }),
        ("the last layer is no bootstrap", |stage| {
            stage.edit_manifest(|manifest| forget(manifest, 2, "containerd.io/snapshot/nydus-bootstrap"));
        }),
        ("does not say that it is a blob", |stage| {
            stage.edit_manifest(|manifest| forget(manifest, 0, "containerd.io/snapshot/nydus-blob"));
        }),
        ("is not of the type of Nydus's blobs", |stage| {
            stage.edit_manifest(|manifest| manifest["layers"][1]["mediaType"] = json!(media_type::OCI_LAYER));
        }),
        ("has another diff id than its digest", |stage| {
            stage.edit_config(|config| config["rootfs"]["diff_ids"][0] = json!(Digest::of(b"other")));
        }),
        ("the bootstrap layer has another diff id", |stage| {
            stage.edit_config(|config| config["rootfs"]["diff_ids"][2] = json!(Digest::of(b"other")));
        }),
        ("which is no layer of the image", |stage| {
            stage.edit_manifest(|manifest| manifest["layers"][0] = manifest["layers"][1].clone());
        }),
        ("another version of RAFS than it says", |stage| {
            let key = "containerd.io/snapshot/nydus-fs-version";
            stage.edit_manifest(|manifest| manifest["layers"][2]["annotations"][key] = json!("5"));
        }),
        ("there is no `image/image.boot`", |stage| end_with(stage, &compress::gzip(&tar(&[file("x", b"")])))),
        ("no RAFS bootstrap", |stage| {
            end_with(stage, &compress::gzip(&tar(&[file("image/image.boot", vec![0; 8192])])));
        }),
        ("table of blobs", |stage| {
            let boot = [0x5241_4653_u32, 0x500, 8192, 1 << 20, 0x88].map(u32::to_le_bytes).concat();
            let boot = [boot, vec![0xff; 8192]].concat();
            end_with(stage, &compress::gzip(&tar(&[file("image/image.boot", boot)])));
        }),
    ];
    for (expected, edit) in rows {
        let stage = converted().await;
        edit(&stage);
        let found = stage.verify("1", "2").await.differences;
        assert!(found.iter().any(|found| found.contains(expected)), "{found:?} instead of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_has_other_bytes_than_it_says_is_a_difference() {
    for layer in [0, 2] {
        let stage = converted().await;
        let digest = stage.document("2")["layers"][layer]["digest"].as_str().unwrap().to_owned();
        stage.registry.rule(Rule::on(Request::BlobGet, Fault::WrongBytes).path(&digest));
        let report = stage.verify("1", "2").await;
        assert!(report.differences.iter().any(|found| found.contains(&digest)), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_batches_is_verified_and_inspected() {
    let stage = Stage::new().await;
    ImageBuilder::new().layer(&tar(&base())).layer(&tar(&top())).push(stage.content(), APP, Some("1"));
    let options = NydusOptions { batch_size: ByteSize(1 << 20), ..NydusOptions::default() };
    Box::pin(stage.convert(Output::new(FormatOptions::Nydus(options)), "2")).await;
    let report = stage.verify("1", "2").await;
    assert_eq!((report.differences, report.chunks), (Vec::new(), 2), "one is of a file that is gone");
    let inspected = stage.inspect("2").await;
    assert!(inspected.images[0].layers[2].bootstrap.as_ref().unwrap().batches);
    let digest = stage.document("2")["layers"][0]["digest"].as_str().unwrap().to_owned();
    stage.registry.rule(Rule::on(Request::BlobGet, Fault::WrongBytes).path(&digest));
    let report = stage.verify("1", "2").await;
    assert!(report.differences.iter().any(|found| found.contains(&digest)), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_what_a_bootstrap_holds() {
    let stage = converted().await;
    stage.registry.forget_requests();
    let report = stage.inspect("2").await;
    let layers = &report.images[0].layers;
    let formats: Vec<_> = layers.iter().map(|layer| (layer.format, layer.problem.as_deref())).collect();
    let (blob, end) = ((LayerFormat::NydusBlob, None), (LayerFormat::NydusBootstrap, None));
    assert_eq!(formats, [blob, blob, end]);
    assert!(layers[0].made_with.as_ref().unwrap().starts_with("nydus/1 "));
    let bootstrap = layers[2].bootstrap.as_ref().unwrap();
    assert_eq!((bootstrap.fs_version, bootstrap.compressor, bootstrap.chunk_size), (6, "zstd", 1 << 20));
    assert!(!bootstrap.batches);
    assert_eq!((bootstrap.files, bootstrap.directories, bootstrap.symlinks), (3, 2, 1));
    assert_eq!((bootstrap.hardlinks, bootstrap.others, bootstrap.file_bytes), (2, 1, 100_100));
    assert_eq!((&bootstrap.blobs[..], bootstrap.prefetched), (&[layers[0].digest][..], 1), "the second holds no data");
    assert_eq!(bootstrap.largest.as_ref().map(|largest| largest.size), Some(100_000));
    let got = stage.registry.requests_of(Request::BlobGet);
    assert!(got.iter().all(|seen| !seen.path.contains(&layers[0].digest.to_string())), "no blob is read: {got:#?}");
    end_with(&stage, &compress::gzip(&tar(&[file("x", b"")])));
    let report = stage.inspect("2").await;
    assert!(report.images[0].layers[2].problem.as_ref().unwrap().contains("image.boot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn u6_a_bootstrap_is_found_wherever_it_lies_in_its_layer_and_another_is_refused() {
    let stage = converted().await;
    let last: Descriptor = serde_json::from_value(stage.document("2")["layers"][2].clone()).unwrap();
    let layer = compress::unpack(&stage.content().blob(APP, last.digest).unwrap()).unwrap();
    assert_eq!((&layer[..7], &layer[512..529]), (&b"image/\0"[..], &b"image/image.boot\0"[..]));
    let size = usize::from_str_radix(std::str::from_utf8(&layer[512 + 124..512 + 135]).unwrap(), 8).unwrap();
    let (boot, size) = (layer[1024..1024 + size].to_vec(), size as u64);
    let old = [&0x5241_4653_u32.to_le_bytes()[..], &vec![0; 8188]].concat();
    let rows = [
        (vec![file("image/image.boot", boot.clone())], Ok(size)),
        (
            vec![dir("image/"), file("image/other", b"x"), file("image/image.boot", boot.clone()), file("x", b"")],
            Ok(size),
        ),
        (vec![file("image.boot", boot)], Err("there is no `image/image.boot`")),
        (vec![file("image/image.boot", old)], Err("version is another than 5")),
        (vec![file("image/image.boot", vec![0; 8192])], Err("no RAFS bootstrap")),
    ];
    for (entries, expected) in rows {
        end_with(&stage, &compress::gzip(&tar(&entries)));
        let found = stage.inspect("2").await.images.swap_remove(0).layers.swap_remove(2);
        let (size, problem) = (found.bootstrap.map(|bootstrap| bootstrap.size), found.problem.unwrap_or_default());
        match expected {
            Ok(expected) => assert_eq!((size, problem.as_str()), (Some(expected), "")),
            Err(expected) => assert!(size.is_none() && problem.contains(expected), "{problem}: {expected}"),
        }
    }
}
