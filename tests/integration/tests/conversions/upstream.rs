//! Images that upstream's builder makes.

use std::fs;
use std::path::Path;
use std::process::Command;

use accel_image::{Descriptor, Digest, media_type};
use accel_test_support::tar::{dir, file, hardlink, symlink, whiteout};
use accel_test_support::{ImageBuilder, compress, noise, tar};
use serde_json::{Value, json};

use crate::nydus::{BOOTSTRAP, assert_verified};
use crate::stage::{APP, Stage};

const BLOB: &str = "containerd.io/snapshot/nydus-blob";

fn nydus_image(arguments: &[&str], paths: &[&Path]) {
    let made = Command::new("nydus-image").args(arguments).args(paths).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// The bootstrap of an index: its section of that name.
fn own_bootstrap(index: &[u8]) -> Vec<u8> {
    let toc = &index[..index.len() - 512];
    let entry = toc.rchunks_exact(128).take(9).find(|entry| entry[8..].starts_with(b"image.boot\0")).unwrap();
    let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap()) as usize;
    compress::unpack(&index[number(56)..][..number(64)]).unwrap()
}

/// Indexes into `layers`, and the bootstrap of their image.
fn built(layers: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let create =
        ["create", "--type", "targz-ref", "--digester", "sha256", "--blob-inline-meta", "--features", "blob-toc"];
    let (mut indexes, mut parts) = (Vec::new(), Vec::new());
    for layer in layers {
        fs::write(at("layer"), layer).unwrap();
        nydus_image(&[&create[..], &["--blob"]].concat(), &[&at("index"), &at("layer")]);
        indexes.push(fs::read(at("index")).unwrap());
        let part = at(&Digest::of(indexes.last().unwrap()).hex());
        fs::write(&part, own_bootstrap(indexes.last().unwrap())).unwrap();
        parts.push(part);
    }
    let all = |each: fn(&Vec<u8>) -> String, of: &[Vec<u8>]| of.iter().map(each).collect::<Vec<_>>().join(",");
    let digests = |of: &[Vec<u8>]| all(|bytes| Digest::of(bytes).hex(), of);
    let sizes = all(|bytes| bytes.len().to_string(), &indexes);
    let (originals, digests) = (digests(layers), digests(&indexes));
    let merge = ["merge", "--original-blob-ids", &originals, "--blob-digests", &digests, "--blob-sizes", &sizes];
    let merged = at("merged");
    let paths: Vec<&Path> = [&merged].into_iter().chain(&parts).map(AsRef::as_ref).collect();
    nydus_image(&[&merge[..], &["--bootstrap"]].concat(), &paths);
    (indexes, fs::read(at("merged")).unwrap())
}

/// Pushes tag `nydus`, an image of the layers of tag `1`, as its own tools would.
fn push(stage: &Stage, layers: &[Vec<u8>]) {
    let (indexes, merged) = built(layers);
    let boot = tar(&[dir("image/"), file("image/image.boot", merged)]);
    let mut manifest = stage.manifest(APP, "1");
    let mut config: Value =
        serde_json::from_slice(&stage.content().blob(APP, manifest.config.digest).unwrap()).unwrap();
    let mut diff_ids = Vec::new();
    let add = |kind: &str, bytes: Vec<u8>, said: &[(&str, &str)]| {
        let mut layer = Descriptor::of(kind, &bytes);
        layer.annotations = said.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        stage.content().put_blob(APP, bytes);
        layer
    };
    let originals: Vec<String> = manifest.layers.iter().map(|layer| layer.digest.to_string()).collect();
    manifest.layers.clear();
    for (index, original) in indexes.into_iter().zip(&originals) {
        let said = [(BLOB, "true"), ("containerd.io/snapshot/nydus-ref", original)];
        manifest.layers.push(add(media_type::NYDUS_BLOB, index, &said));
        diff_ids.push(manifest.layers.last().unwrap().digest);
    }
    manifest.layers.push(add(media_type::OCI_LAYER_GZIP, compress::gzip(&boot), &[(BOOTSTRAP, "true")]));
    diff_ids.push(Digest::of(&boot));
    config["rootfs"]["diff_ids"] = json!(diff_ids);
    let said = json!({"created_by": "Nydus Converter", "comment": "Nydus Bootstrap Layer"});
    match config["history"].as_array_mut() {
        Some(history) => history.push(said),
        None => config["history"] = json!([said]),
    }
    let config = config.to_string().into_bytes();
    manifest.config = Descriptor::of(media_type::OCI_CONFIG, &config);
    manifest.media_type = media_type::OCI_MANIFEST.to_owned();
    stage.content().put_blob(APP, config);
    stage.content().put_manifest(APP, "nydus", media_type::OCI_MANIFEST, manifest.to_bytes());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nydus-image in PATH"]
async fn an_image_that_refers_to_its_source_is_verified() {
    let stage = Stage::new().await;
    // Upstream's builder notes spans for what is repeated, too; more than there are chunks no runtime takes.
    let small = (0..20).map(|n| file(format!("d/{n}"), noise(1000, 10 + n)));
    let base = [
        dir("d/").mode(0o750),
        file("d/large", noise(6 << 20, 1)),
        file("d/small", vec![1; 100]),
        hardlink("d/link", "d/small"),
        symlink("s", "d/small"),
        file("d/again", noise(6 << 20, 1)),
        file("d/noise", noise(3 << 20, 2)),
        file("gone", b"below"),
    ];
    let base: Vec<_> = base.into_iter().chain(small).collect();
    let tars = [tar(&base), tar(&[whiteout("gone"), file("new", noise(100_000, 3))])];
    tars.iter().fold(ImageBuilder::new(), |image, tar| image.layer(tar)).push(stage.content(), APP, Some("1"));
    let layers = stage.manifest(APP, "1").layers;
    let layers = layers.iter().map(|layer| stage.content().blob(APP, layer.digest).unwrap().to_vec());
    push(&stage, &layers.collect::<Vec<_>>());
    let report = assert_verified(&stage, "1", (APP, "nydus")).await;
    assert!(report.chunks > 10, "{report:?}");
}
