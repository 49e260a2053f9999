//! Indexes into original layers that upstream's builder makes: `verify` reads them, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use accel_driver_nydus::reader::{Bootstrap, Inode, check_index};
use accel_image::Digest;
use accel_stream::Limits;
use accel_test_support::tar::file;
use accel_test_support::{noise, tar, text};

use crate::zran::{entries, member, members, meta, number, section};

/// The index into a layer, and the bootstrap of an image of it, as upstream merges it.
fn upstreams(original: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let run = |arguments: &str, paths: &[&Path]| {
        let made = Command::new("nydus-image").args(arguments.split_whitespace()).args(paths).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    fs::write(at("layer.tar.gz"), original).unwrap();
    let create = "create --type targz-ref --digester sha256 --blob-inline-meta --features blob-toc --blob";
    run(create, &[&at("index"), &at("layer.tar.gz")]);
    let index = fs::read(at("index")).unwrap();
    let (id, digest) = (Digest::of(original).hex(), Digest::of(&index).hex());
    let (begin, stored, _) = section(&index, "image.boot");
    fs::write(at(&digest), zstd::decode_all(&index[begin..][..stored]).unwrap()).unwrap();
    let told = format!("--original-blob-ids {id} --blob-digests {digest} --blob-sizes {}", index.len());
    run(&format!("merge {told} --bootstrap"), &[&at("merged"), &at(&digest)]);
    (index, fs::read(at("merged")).unwrap())
}

/// Of what came before they note spans, too, and no chunk lies in those.
#[test]
#[ignore = "needs nydus-image in PATH"]
fn an_index_of_upstreams_builder_is_read() {
    let mut entries = entries();
    entries.insert(1, file("usr/early", noise(6 << 20, 9)));
    entries.extend([file("usr/late", noise(6 << 20, 9)), file("usr/long", text(5, 40 << 20)), file("usr/last", ".")]);
    let tar = tar(&entries);
    for original in [member(&tar, 6), member(&tar, 9), member(&tar, 0), members(&tar, 3_000_000), members(&tar, 7_000)]
    {
        let (index, merged) = upstreams(&original);
        let bootstrap = Bootstrap::parse(merged).unwrap();
        let mut chunks = BTreeMap::new();
        let mut note = |_: &[u8], inode: &Inode| chunks.extend(inode.chunks.iter().map(|chunk| (chunk.index, *chunk)));
        bootstrap.walk(Limits::default(), &mut note).unwrap();
        let [blob] = bootstrap.blobs() else { panic!("{bootstrap:?}") };
        assert_eq!((blob.index, chunks.len()), (Some(Digest::of(&index)), blob.chunk_count as usize));
        let mut wrong = Vec::new();
        let mut say = |what| wrong.push(what);
        check_index(blob, &chunks, &mut &index[..], &mut &original[..], Limits::default(), &mut say).unwrap();
        assert_eq!(wrong, Vec::<String>::new());
        let (meta, header) = meta(&index);
        let used: BTreeSet<u64> = (0..chunks.len()).map(|at| number::<4>(&meta[24 * at..], 20)).collect();
        let spans = number::<4>(header, 56);
        assert!(spans > used.len() as u64, "the second time of a file has spans of its own");
        assert!(spans <= chunks.len() as u64, "as runtimes want it");
    }
}
