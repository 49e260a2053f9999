//! Upstream's own readers: nydus-image checks bootstraps, and nydusd mounts images through FUSE.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use accel_domain::{NydusCompressor, NydusOptions};
use accel_test_support::nydus::toc_entry;
use accel_test_support::tar::{file, nasty_tar};
use accel_test_support::tree::diff;
use accel_test_support::{Entry, Tree, noise, tar, text};
use rustix::mount::{UnmountFlags, unmount};

use crate::built::{Built, batches, build_beside, build_tars, like, options, v5};
use crate::kernel::tree_at;

/// An image that nydusd shows; unmounted when dropped.
struct Shown {
    directory: tempfile::TempDir,
    nydusd: Child,
}

impl Shown {
    fn new(built: &Built, mode: &str, digests: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("image.boot"), built.boot()).unwrap();
        for name in ["mnt", "blobs", "cache"] {
            fs::create_dir(at(name)).unwrap();
        }
        for (digest, blob) in &built.blobs {
            fs::write(at("blobs").join(digest.hex()), blob).unwrap();
        }
        let checked = Command::new("nydus-image").arg("check").arg("-B").arg(at("image.boot")).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let config = format!(
            r#"{{"device":{{"backend":{{"type":"localfs","config":{{"dir":"{}"}}}},
                "cache":{{"type":"blobcache","config":{{"work_dir":"{}"}}}}}},
                "mode":"{mode}","digest_validate":{digests},"enable_xattr":true}}"#,
            at("blobs").display(),
            at("cache").display()
        );
        fs::write(at("config.json"), config).unwrap();
        let nydusd = Command::new("nydusd")
            .args(["--rlimit-nofile", "0", "--log-level", "warn", "--config"])
            .arg(at("config.json"))
            .arg("--mountpoint")
            .arg(at("mnt"))
            .arg("--bootstrap")
            .arg(at("image.boot"))
            .spawn()
            .unwrap();
        let mut shown = Self { directory, nydusd };
        shown.wait();
        shown
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    fn wait(&mut self) {
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        while device(&self.root()) == device(self.directory.path()) {
            assert_eq!(self.nydusd.try_wait().unwrap(), None, "it has ended");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.root(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.root().display());
        }
        for ended in [self.nydusd.kill(), self.nydusd.wait().map(drop)] {
            if let Err(error) = ended {
                eprintln!("nydusd still runs: {error}");
            }
        }
    }
}

/// What nydusd shows otherwise, on purpose: its own start for a time of 0, and the root open to everybody.
fn but_for_nydusd(mut found: Tree, expected: &Tree) -> Tree {
    for (path, node) in &mut found.nodes {
        let expected = expected.nodes.get(path);
        let mtime = expected.map_or(Some((0, 0)), |node| node.mtime);
        node.mtime = mtime.filter(|mtime| mtime.0 == 0).or(node.mtime);
        if path.is_empty() {
            assert_eq!(node.mode & 0o777, 0o755);
            node.mode = expected.map_or(node.mode, |node| node.mode);
        }
    }
    like(found, expected)
}

fn assert_shown_alike(layers: &[Vec<u8>], options: &NydusOptions, mode: &str) {
    assert_is_shown_alike(&build_tars(layers, options).unwrap(), layers, options, mode);
}

fn assert_is_shown_alike(built: &Built, layers: &[Vec<u8>], options: &NydusOptions, mode: &str) {
    let shown = Shown::new(built, mode, options.fs_version == 5);
    let expected = Tree::from_layers(layers).unwrap();
    let found = but_for_nydusd(tree_at(&shown.root()), &expected);
    assert_eq!(diff(&expected, &found), Vec::<String>::new(), "{options:?}, {mode}");
}

#[test]
#[ignore = "needs root, /dev/fuse, and nydus-image and nydusd in PATH"]
fn nydusd_shows_odd_layers() {
    for options in [
        v5(&NydusOptions::default()),
        v5(&options(NydusCompressor::Lz4Block, 4096)),
        v5(&options(NydusCompressor::None, 4 << 20)),
        NydusOptions::default(),
        batches(NydusCompressor::Zstd, 1 << 20),
        batches(NydusCompressor::Lz4Block, 8192),
        batches(NydusCompressor::None, 1 << 16),
    ] {
        assert_shown_alike(&crate::odd::layers(), &options, "direct");
        assert_shown_alike(&[nasty_tar()], &options, "direct");
    }
}

#[test]
#[ignore = "needs root, /dev/fuse, and nydus-image and nydusd in PATH"]
fn nydusd_shows_layers_beside_a_dictionary() {
    for options in [
        NydusOptions::default(),
        options(NydusCompressor::Zstd, 4096),
        options(NydusCompressor::Lz4Block, 65_536),
        options(NydusCompressor::None, 4 << 20),
    ] {
        let (dictionary, layers) = crate::dictionary::pair();
        let dictionary = build_tars(&dictionary, &options).unwrap();
        let built = build_beside(&dictionary, &layers, &options).unwrap();
        assert_is_shown_alike(&built, &layers, &options, "direct");
    }
}

/// Real layers, uncompressed tars named by `ACCEL_LAYERS`, lowest first and separated by colons.
#[test]
#[ignore = "needs root, /dev/fuse, nydus-image and nydusd in PATH, and layers in ACCEL_LAYERS"]
fn nydusd_shows_real_layers() {
    let paths = std::env::var("ACCEL_LAYERS").unwrap();
    let layers: Vec<Vec<u8>> = paths.split(':').map(|path| fs::read(path).unwrap()).collect();
    assert_shown_alike(&layers, &v5(&NydusOptions::default()), "direct");
}

/// The layer as upstream's builder makes it.
fn upstreams_blob(layer: &[u8], batch_bytes: u64) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("layer.tar"), layer).unwrap();
    let options = "create --type tar-rafs --blob-inline-meta --features blob-toc --fs-version 6 --digester sha256 \
                   --compressor none --chunk-size 0x100000 --batch-size";
    let mut command = Command::new("nydus-image");
    command.args(options.split_whitespace()).arg(batch_bytes.to_string());
    let made = command.arg("--blob").arg(at("blob")).arg(at("layer.tar")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::read(at("blob")).unwrap()
}

/// Where a section lies, and its bytes as they are stored.
fn section<'b>(blob: &'b [u8], name: &str) -> (usize, &'b [u8]) {
    let entry = &blob[toc_entry(blob, name).unwrap()];
    let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap()) as usize;
    (number(56), &blob[number(56)..][..number(64)])
}

/// Upstream's builder says the CRC-32C of each chunk that is in no batch, beside a flag.
fn without_checksums(mut blob: Vec<u8>) -> Vec<u8> {
    let (begin, count) = (section(&blob, "blob.meta").0, section(&blob, "blob.digest").1.len() / 32);
    for entry in blob[begin..][..24 * count].chunks_mut(24) {
        if entry[7] & 0x10 != 0 {
            entry[7] ^= 0x10;
            entry[16..].fill(0);
        }
    }
    blob
}

/// Within a unit, for there a batch of ours ends; and uncompressed, for what a compressor makes depends on its version.
#[test]
#[ignore = "needs nydus-image in PATH"]
fn batches_are_those_of_upstreams_builder_to_the_byte() {
    let mut files: Vec<Entry> = (0..300).map(|at| file(format!("f{at:03}"), text(at, at as usize * 37 + 1))).collect();
    files.insert(7, file("again", text(5, 186)));
    files.insert(99, file("noise", noise(3000, 9)));
    files.insert(150, file("large", text(7, 1_200_000)));
    files.push(file("last", b"."));
    let layer = tar(&files);
    for batch_bytes in [4096, 8192, 1 << 16, 1 << 20] {
        let options = batches(NydusCompressor::None, batch_bytes);
        let built = build_tars(std::slice::from_ref(&layer), &options).unwrap();
        let (ours, theirs) =
            (&built.blobs[&built.layers[0].digest], without_checksums(upstreams_blob(&layer, batch_bytes)));
        for name in ["image.blob", "blob.meta", "blob.meta.header", "blob.digest"] {
            assert!(section(ours, name) == section(&theirs, name), "{name} with batches of {batch_bytes}");
        }
    }
}
