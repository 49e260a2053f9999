//! Whole images did not change by accident: pinned digests of every layer, configuration, manifest and index. Who changes
//! layers on purpose raises the format's version; who changes documents says so in the changelog.

use std::fmt::Write as _;

use accel_domain::{Format, FormatOptions, NydusOptions, Output, Timestamp};
use accel_image::{Digest, Document};
use accel_pipeline::{Engine, Job, Outcome, Stop, Tally, convert_image, move_tag};
use accel_test_support::image::{Compression, PushedImage};
use accel_test_support::tar::{dir, file, hardlink, opaque, symlink, whiteout};
use accel_test_support::{Entry, ImageBuilder, IndexBuilder, tar};

use crate::stage::{APP, Stage};

/// Of its own, so that no other test's wish for an entry changes it.
fn base(architecture: &str) -> Vec<Entry> {
    vec![
        dir("bin/"),
        file("bin/sh", text(90_000, architecture)).mode(0o4755).owner("root", "wheel"),
        hardlink("bin/bash", "bin/sh"),
        symlink("bin/ash", "sh"),
        dir("etc/"),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n").mode(0o640),
        file("etc/gone", b"for the layer above"),
    ]
}

/// Enough entries for a TOC that shows how it is compressed.
fn middle() -> Vec<Entry> {
    let small = (0..300).map(|at| file(format!("usr/share/{at}"), text(at * 11, "small files")).mtime(at as i64));
    let large = [dir("usr/"), file("usr/large", text(5 << 20, "several chunks")), file("usr/empty", b"").uid(1000)];
    large.into_iter().chain([dir("usr/share/")]).chain(small).collect()
}

fn top() -> Vec<Entry> {
    vec![whiteout("etc/gone"), opaque("usr"), file("srv/app", b"#!/bin/sh\n").mode(0o755).mtime(1_600_000_000)]
}

fn text(bytes: usize, seed: &str) -> Vec<u8> {
    let seed = seed.as_bytes();
    (0..bytes).map(|at| seed[at * at / 7 % seed.len()] ^ (at / 4096) as u8).collect()
}

/// A platform's image: its base in gzip, the layer above in zstd, the last one not compressed.
fn push(stage: &Stage, platform: &str, tag: Option<&str>) -> PushedImage {
    ImageBuilder::new()
        .platform(platform)
        .layer(&tar(&base(platform)))
        .packed(&tar(&middle()), Compression::Zstd)
        .packed(&tar(&top()), Compression::None)
        .annotation("org.opencontainers.image.title", "golden")
        .push(stage.content(), APP, tag)
}

/// An index of two platforms, and an attestation of one.
fn push_index(stage: &Stage) {
    let images = ["linux/amd64", "linux/arm64"].map(|platform| push(stage, platform, None));
    let index = images.iter().fold(IndexBuilder::new().annotation("kept", "yes"), IndexBuilder::image);
    index.attestation(stage.content(), APP, &images[0]).push(stage.content(), APP, Some("1"));
}

/// Converts `library/app:1` with the default options, as if its registry had always the same name.
async fn convert(stage: &Stage) {
    convert_as(stage, stage.job()).await;
}

/// As [`convert`], into `library/app:1-nydus`.
async fn convert_to_nydus(stage: &Stage, output: Output) {
    let (rule_hash, target_key) = (output.rule_hash("t"), "1-nydus".to_owned());
    convert_as(stage, Job { output, rule_hash, target_key, ..stage.job() }).await;
}

async fn convert_as(stage: &Stage, job: Job) {
    let job = Job { source_name: format!("registry.example/{APP}:1"), ..job };
    let (engine, stop) = (Engine::new(2), Stop::new());
    let converting =
        convert_image(&engine, &*stage.store, &job, &Tally::default(), stop.signal(), Timestamp::now).await;
    let Outcome::Converted(image) = converting.unwrap() else { panic!("it is not converted") };
    move_tag(&job, &image).await.unwrap();
}

/// All that stands under `key`, line by line.
fn digests(stage: &Stage, key: &str) -> String {
    let mut lines = String::new();
    match stage.document(APP, key) {
        Document::Index(index) => {
            writeln!(lines, "index    {}", stage.digest(&format!("{APP}:{key}")).unwrap().hex()).unwrap();
            index.manifests.iter().for_each(|entry| lines.push_str(&digests(stage, &entry.digest.to_string())));
        }
        Document::Manifest(manifest) => {
            let digest = stage.content().manifest(APP, key).unwrap().digest;
            let mut line = |what: &str, digest: Digest| writeln!(lines, "{what:8} {}", digest.hex()).unwrap();
            line("manifest", digest);
            line("config", manifest.config.digest);
            manifest.layers.iter().for_each(|layer| line("layer", layer.digest));
        }
    }
    lines
}

/// The source is pinned as well: a compressor of the tests that packs otherwise is no change of ours.
fn assert_golden(stage: &Stage, source: &str, target: &str) {
    assert_eq!(Format::Estargz.version(), 2, "new goldens go with a new version");
    assert_eq!(digests(stage, "1"), source, "the SOURCE is another one: the tests pack it otherwise");
    assert_eq!(digests(stage, "1-esgz"), target, "the output changed");
}

#[tokio::test]
async fn an_image_of_one_platform_did_not_change() {
    let stage = Stage::new().await;
    push(&stage, "linux/amd64", Some("1"));
    convert(&stage).await;
    assert_golden(&stage, IMAGE_SOURCE, IMAGE_TARGET);
}

#[tokio::test]
async fn an_index_of_two_platforms_did_not_change() {
    let stage = Stage::new().await;
    push_index(&stage);
    convert(&stage).await;
    assert_golden(&stage, INDEX_SOURCE, INDEX_TARGET);
}

/// What is made of an image, or of an index, by each way to say what a Nydus image belongs to.
struct NydusRow {
    what: &'static str,
    subject: bool,
    merge_manifest: bool,
    image: &'static str,
    index: &'static str,
}

const NYDUS_ROWS: [NydusRow; 4] = [
    NydusRow {
        what: "alone",
        subject: false,
        merge_manifest: false,
        image: "13a2fbb6c6d757e837956e7581cee97e2682ebeb315c67f0f72e2b5b9de8c89c",
        index: "77e5e3dde6843b3c02b970b6242aca1c7a2df43a029688b4d9f5b6b6ae8f895a",
    },
    NydusRow {
        what: "referring",
        subject: true,
        merge_manifest: false,
        image: "942bcdf5ad90959843507593a121917e5eb466b2d9ca4660758fff99835d8b8d",
        index: "c6bcb33b0478fa8a27a052a6cac0cc1e27c04c28cc11130474e76ceacd65e3f4",
    },
    NydusRow {
        what: "merged",
        subject: false,
        merge_manifest: true,
        image: "be7238e18f33b0be533fe062b1cd50e0e883bebc2f5478b95a98135eb1113cb9",
        index: "3e67a897232324d9ca29dfdff6a9d678db81a946874bbe564e29306fbc34261d",
    },
    NydusRow {
        what: "merged, referring",
        subject: true,
        merge_manifest: true,
        image: "bddcbd81ee7e55941ec4bfce50e513fc24a1e7eefd7f592b3e6c7340a3e772c0",
        index: "99285cc214bc054f1315edebb2b53ac222f7a51317b2a8e769e29e4328c85705",
    },
];

#[tokio::test]
async fn nydus_images_did_not_change() {
    assert_eq!(Format::Nydus.version(), 1, "new goldens go with a new version");
    let (mut found, mut parts) = (String::new(), String::new());
    for row in &NYDUS_ROWS {
        let NydusRow { what, subject, merge_manifest, .. } = *row;
        let options = NydusOptions { merge_manifest, ..NydusOptions::default() };
        let output = Output { subject, ..Output::new(FormatOptions::Nydus(options)) };
        let (one, two) = (Stage::new().await, Stage::new().await);
        push(&one, "linux/amd64", Some("1"));
        push_index(&two);
        for (stage, source) in [(&one, IMAGE_SOURCE), (&two, INDEX_SOURCE)] {
            assert_eq!(digests(stage, "1"), source, "the SOURCE is another one: the tests pack it otherwise");
            convert_to_nydus(stage, output.clone()).await;
            writeln!(found, "{what}: {}", stage.digest("library/app:1-nydus").unwrap().hex()).unwrap();
        }
        parts = digests(&one, "1-nydus");
    }
    let expected = NYDUS_ROWS.iter().map(|row| format!("{0}: {1}\n{0}: {2}\n", row.what, row.image, row.index));
    let expected: String = expected.collect();
    assert_eq!(format!("{found}{parts}"), format!("{expected}{MERGED_TARGET}"), "the output changed");
}

#[tokio::test]
async fn a_nydus_image_beside_a_chunk_dictionary_did_not_change() {
    let stage = Stage::new().await;
    push(&stage, "linux/arm64", Some("1"));
    let alone = Output { subject: false, ..Output::new(Format::Nydus.default_options()) };
    convert_to_nydus(&stage, alone.clone()).await;
    ImageBuilder::new()
        .layer(&tar(&base("linux/amd64")))
        .layer(&tar(&middle()))
        .layer(&tar(&[file("srv/app", b"#!/bin/sh\n"), file("srv/own", text(70_000, "of its own"))]))
        .push(stage.content(), APP, Some("2"));
    let chunk_dictionary = Some(stage.reference("library/app:1-nydus"));
    let options = FormatOptions::Nydus(NydusOptions { chunk_dictionary, ..NydusOptions::default() });
    let job = Job {
        source_key: "2".to_owned(),
        target_key: "2-nydus".to_owned(),
        dictionary: Some(stage.end(APP)),
        rule_hash: alone.rule_hash("t"),
        output: Output { options, ..alone },
        ..stage.job()
    };
    convert_as(&stage, job).await;
    assert_eq!(digests(&stage, "2-nydus"), BESIDE_A_DICTIONARY, "the output changed");
}

/// Its layers, two blobs of the dictionary, and the last.
const BESIDE_A_DICTIONARY: &str = "\
manifest a4b60471579f4a1b006ffa96d100abefa27223621ca2a9f679f82d43d4edfd91
config   f5f188869a0d8b8046b018f5d869f3c61e7ff9950e52df4774ec9d1b4b53693d
layer    afaad0c23b3da4133cb7a9b6026452844ca74627af0be23743b58ff6037febe5
layer    bd47b813e27958675ea9ba6692aa7257cd8571eee97d2f4e775b8f84507f1133
layer    837f56066efc84a2e22bd28d206e6712da94297a2d407fe923fa78446987c6ef
layer    61dff7b49c9d88a378c5227d5c1230a36b89dca1e45aed3e80ea278d1c2f2c50
layer    73d46bed5bc4b432192558a8549ecae177c09c06a182ca1ba94e1731139c5fe3
layer    0566da03aae5815244f58a5e9e361751f9c18523dd5f479625faf4f520bee8e9
";

/// What the last row makes of the image: the plain image with the empty layer below, and the Nydus image.
const MERGED_TARGET: &str = "\
index    bddcbd81ee7e55941ec4bfce50e513fc24a1e7eefd7f592b3e6c7340a3e772c0
manifest 40fc2221e279d8414e008f1427b278a4b6ec13c812681a437356f48ee31301b1
config   bb468417664f6fc9f9b6632d95d1394b1d8a107a201e7c678c957d59c14f4da8
layer    4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1
layer    496feaae512c22acd09f045e3080d799a39fb57c14f014bafbabea52e6f55381
layer    2bf684046ed2111ca47b284ee30f3341ad8f2c61f9c8e05ff36c71171119adb5
layer    47ded4f9f8cefca316b4d1aa6b78dfedafca7756ec17be72ae591d63e8dc8d15
manifest 07108f687612a5ab6ade1e8b5d1897f7c826d6a7c7c1a8c5cdcdc80fe0d8abae
config   06f0d42fc611b43852590feb31b78570955f74dd1e4cfc4bb5c6d4b820062056
layer    8e05d4abd08a1d4423049af31ebb740f57b2a9943a35aeb49cd2532434281552
layer    bd47b813e27958675ea9ba6692aa7257cd8571eee97d2f4e775b8f84507f1133
layer    73d46bed5bc4b432192558a8549ecae177c09c06a182ca1ba94e1731139c5fe3
layer    877e8ea50f913f7bb103946f5a2a4fbac72c213f872df9e34e023a1808030f7f
";

const IMAGE_SOURCE: &str = "\
manifest 1a3098a345593549a12c22a499c99665923bcbf06ab5c593ed87b0db40a6bcb6
config   f48aaef63407398025e3f9621cef3de2e3f8a998044beaea6a5a34e70b8333c2
layer    496feaae512c22acd09f045e3080d799a39fb57c14f014bafbabea52e6f55381
layer    2bf684046ed2111ca47b284ee30f3341ad8f2c61f9c8e05ff36c71171119adb5
layer    47ded4f9f8cefca316b4d1aa6b78dfedafca7756ec17be72ae591d63e8dc8d15
";

const IMAGE_TARGET: &str = "\
manifest 261587635752954b1df6b3d76c1046406481ad0cb96d0229a27098c33ca5971f
config   8f496c3277e067ea15221dbe42e9c11e77865faa04a3adbdbd76f0d1bdbf23a5
layer    c46bea1bc08752d3871988bda262cbe01879219bc6992b9d6fae3fb92ba8f55f
layer    f25e377cc396a30278eb66299c02a10f5cbaf8fead9b1e1a0c9449940170c41f
layer    a5aeaed552aeed7956f98deae132f619d6fbf9f9bfba9731559186f99553277e
";

/// Its last manifest is an attestation, which is dropped.
const INDEX_SOURCE: &str = "\
index    aa6ef277cfc65e920ccffb393e71fb834a1128f3613eb29459682f52e47e9712
manifest 1a3098a345593549a12c22a499c99665923bcbf06ab5c593ed87b0db40a6bcb6
config   f48aaef63407398025e3f9621cef3de2e3f8a998044beaea6a5a34e70b8333c2
layer    496feaae512c22acd09f045e3080d799a39fb57c14f014bafbabea52e6f55381
layer    2bf684046ed2111ca47b284ee30f3341ad8f2c61f9c8e05ff36c71171119adb5
layer    47ded4f9f8cefca316b4d1aa6b78dfedafca7756ec17be72ae591d63e8dc8d15
manifest fb8f6ef3e4e226a612e0f453e777e1fdd2c54a4e705b6c54885db9159f6c6efb
config   abb3381f82b9bdc334e065d71b84bc8615caf4502e244508461cffa0061d9124
layer    56f0c294f38ba702aa402bf5bc0183913294bec5ff657e72d0f7618c2d930dd1
layer    2bf684046ed2111ca47b284ee30f3341ad8f2c61f9c8e05ff36c71171119adb5
layer    47ded4f9f8cefca316b4d1aa6b78dfedafca7756ec17be72ae591d63e8dc8d15
manifest 7d3e587148f2fb7c12ca3c15f3446a2c623a1590f1b6afdeee2c54eca33e629f
config   d7a894e12157fe037b19f4d2037a2024d2cf09da413967ffc31043b037dd0a82
layer    cc9f054d238db09fa9f1cc3fa9ff76457fe6f5e2fb94d7ba8dd740ed66d31c79
";

const INDEX_TARGET: &str = "\
index    24756457f0c36a0609a405c32d1d298147b93663bfc8c9ab3d7576e895230ce1
manifest 3a9c96c0e2355228a1531b87e92aade2b06fdc80385e9458860baf50c6a45556
config   8f496c3277e067ea15221dbe42e9c11e77865faa04a3adbdbd76f0d1bdbf23a5
layer    c46bea1bc08752d3871988bda262cbe01879219bc6992b9d6fae3fb92ba8f55f
layer    f25e377cc396a30278eb66299c02a10f5cbaf8fead9b1e1a0c9449940170c41f
layer    a5aeaed552aeed7956f98deae132f619d6fbf9f9bfba9731559186f99553277e
manifest 30148e3d56f0d77c105ae19b315dc6fca1d18224131ece0f37d4cd1d1c9997f6
config   42dcd479fcfd437493afea4ab02c6990aab5b0a597a3d5e90be2e4715f6bcfb1
layer    930ec028fa1912c8215e6fe0e5dd6b8b1d3f93719e15499e4d122af91d19c00b
layer    f25e377cc396a30278eb66299c02a10f5cbaf8fead9b1e1a0c9449940170c41f
layer    a5aeaed552aeed7956f98deae132f619d6fbf9f9bfba9731559186f99553277e
";
