//! Images that refer to their original layers: read by code that is not the reader's, and by the reader.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::rc::Rc;

use accel_domain::{ErrorClass, NydusOptions};
use accel_driver::conformance::{Downloads, Kept};
use accel_driver::{Converted, Driver, DriverError, Part, Pool};
use accel_driver_nydus::reader::{Blob, Bootstrap, ChunkRef, FormatError, check_index};
use accel_driver_nydus::{BLOB, Nydus, REF_LAYER};
use accel_image::Digest;
use accel_stream::Limits;
use accel_test_support::compress::{gzip, unpack, zstd};
use accel_test_support::tar::{dir, file, hardlink, whiteout};
use accel_test_support::{Entry, noise, tar, text};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::built::{Built, Store, build_tars, differences, part};

fn referring() -> NydusOptions {
    NydusOptions { oci_ref: true, ..NydusOptions::default() }
}

pub(crate) fn member(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Small files and large ones, of what compresses and what does not.
pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = vec![dir("usr"), file("usr/empty", "")];
    entries.extend((0..300).map(|n| file(format!("usr/text-{n}"), text(n, 100 + 97 * n as usize))));
    entries.extend((0..6).map(|n| file(format!("usr/noise-{n}"), noise(900_000, n))));
    entries.push(file("usr/large", text(7, 9_000_000)));
    entries.push(file("usr/again", noise(900_000, 3)));
    entries.push(file("usr/zeros", vec![0; 5_000_000]));
    entries.push(hardlink("usr/link", "usr/text-3"));
    entries
}

/// A tar in several members, cut anywhere.
pub(crate) fn members(bytes: &[u8], step: usize) -> Vec<u8> {
    bytes.chunks(step).flat_map(|part| member(part, 6)).collect()
}

/// A number of `N` bytes.
pub(crate) fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut long = [0; 8];
    long[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(long)
}

/// Offset, length as it is stored, and length of the section `name` of a blob.
pub(crate) fn section(blob: &[u8], name: &str) -> (usize, usize, usize) {
    let toc = &blob[..blob.len() - 512];
    for entry in toc.rchunks_exact(128).take(9) {
        if entry[8..].starts_with(name.as_bytes()) && entry[8 + name.len()] == 0 {
            return (number::<8>(entry, 56) as usize, number::<8>(entry, 64) as usize, number::<8>(entry, 72) as usize);
        }
    }
    panic!("no section {name}");
}

/// `blob.meta` of an index and its header.
pub(crate) fn meta(index: &[u8]) -> (Vec<u8>, &[u8]) {
    let (offset, stored, bytes) = section(index, "blob.meta");
    let meta = zstd::decode_all(&index[offset..offset + stored]).unwrap();
    assert_eq!(meta.len(), bytes);
    (meta, &index[offset + stored..][..4096])
}

/// `blob.meta` of an index, where spans begin in it, and the tar that it is of.
struct Unpacked {
    meta: Vec<u8>,
    spans: usize,
    tar: Vec<u8>,
}

thread_local! {
    /// Those that were unpacked, by the digest of the original layer.
    static UNPACKED: RefCell<HashMap<Digest, Rc<Unpacked>>> = RefCell::default();
}

fn unpacked(built: &Built, blob: &Blob) -> Rc<Unpacked> {
    let unpack = || {
        let (meta, header) = meta(&built.blobs[&blob.index.unwrap()]);
        let tar = unpack(&built.blobs[&blob.id]).unwrap();
        Rc::new(Unpacked { meta, spans: number::<8>(header, 40) as usize, tar })
    };
    UNPACKED.with_borrow_mut(|all| Rc::clone(all.entry(blob.id).or_insert_with(unpack)))
}

/// A chunk's content: where the index says that it lies in the tar.
pub(crate) fn content(built: &Built, blob: &Blob, chunk: &ChunkRef) -> Vec<u8> {
    let unpacked = unpacked(built, blob);
    let Unpacked { meta, spans, tar } = &*unpacked;
    let info = &meta[24 * chunk.index as usize..][..24];
    let span = &meta[spans + 40 * number::<4>(info, 20) as usize..][..40];
    let from = number::<8>(span, 8) + number::<4>(info, 16);
    let content = tar[from as usize..][..chunk.uncompressed_size as usize].to_vec();
    assert_eq!(Digest::of(&content), chunk.digest);
    assert_eq!(number::<3>(info, 4) + 1, u64::from(chunk.uncompressed_size));
    content
}

/// What the reader finds wrong with the index of blob `number`.
pub(crate) fn check(built: &Built, number: usize) -> Result<Vec<String>, FormatError> {
    let blob = &built.bootstrap().blobs()[number].clone();
    let index = &built.blobs[&blob.index.unwrap()];
    check_with(built, blob, index, &built.blobs[&blob.id])
}

fn check_with(built: &Built, blob: &Blob, mut index: &[u8], mut original: &[u8]) -> Result<Vec<String>, FormatError> {
    let number = built.bootstrap().blobs().iter().position(|known| known.id == blob.id).unwrap();
    let inodes = built.inodes();
    let all = inodes.values().flat_map(|inode| &inode.chunks).filter(|chunk| chunk.blob as usize == number);
    let chunks: BTreeMap<u32, ChunkRef> = all.map(|chunk| (chunk.index, *chunk)).collect();
    let mut wrong = Vec::new();
    check_index(blob, &chunks, &mut index, &mut original, Limits::default(), &mut |what| wrong.push(what))?;
    Ok(wrong)
}

#[test]
fn original_layers_are_read_through_their_indexes() {
    let tar = tar(&entries());
    for layer in [gzip(&tar), member(&tar, 9), member(&tar, 0), members(&tar, 300_000), members(&tar, 7_000)] {
        let built = build_tars(std::slice::from_ref(&layer), &referring()).unwrap();
        assert_eq!(differences(&built, std::slice::from_ref(&tar)), Vec::<String>::new());
        assert_eq!(check(&built, 0).unwrap(), Vec::<String>::new());
        let index = &built.layers[0];
        assert!(index.size < layer.len() as u64 / 12, "{} for {}", index.size, layer.len());
    }
}

#[test]
fn layers_are_merged_as_all_others() {
    let lower = gzip(&tar(&[dir("d"), file("d/a", text(1, 5000)), file("d/b", text(2, 5000)), file("c", "c")]));
    let upper = gzip(&tar(&[whiteout("d/a"), file("d/n", text(3, 70_000)), hardlink("l", "d/b")]));
    let layers = [lower.clone(), upper, lower];
    let built = build_tars(&layers, &referring()).unwrap();
    let tars = layers.each_ref().map(|layer| unpack(layer).unwrap());
    assert_eq!(differences(&built, &tars), Vec::<String>::new());
    let bootstrap = built.bootstrap();
    assert_eq!(bootstrap.blobs().len(), 2);
    for (number, blob) in bootstrap.blobs().iter().enumerate() {
        let layer = built.layers.iter().find(|layer| layer.source.source_digest == blob.id).unwrap();
        assert_eq!((blob.index, blob.compressed_size), (Some(layer.digest), layer.source.source_bytes));
        assert_eq!(check(&built, number).unwrap(), Vec::<String>::new());
    }
    assert_eq!(built.files.keys().collect::<Vec<_>>(), ["image/", "image/image.boot"], "nydusd fetches the rest");
}

#[test]
fn a_descriptor_names_the_original_layer() {
    let layer = gzip(&tar(&[file("f", "f")]));
    let built = build_tars(std::slice::from_ref(&layer), &referring()).unwrap();
    let annotations = &built.layers[0].annotations;
    assert_eq!(annotations[BLOB], "true");
    assert_eq!(annotations[REF_LAYER], Digest::of(&layer).to_string());
    assert_eq!(built.layers[0].diff_id, built.layers[0].digest);
}

/// What nydusd relies on, beyond that bytes are where they are said to be.
#[test]
fn spans_are_as_nydusd_wants_them() {
    let tar = tar(&entries());
    let layer = members(&tar, 2_000_000);
    let built = build_tars(std::slice::from_ref(&layer), &referring()).unwrap();
    let (meta, header) = meta(&built.blobs[&built.layers[0].digest]);
    let (chunks, spans) = (number::<4>(header, 12) as usize, number::<4>(header, 56) as usize);
    assert_eq!(number::<8>(header, 40) as usize, 24 * chunks);
    assert_eq!(number::<8>(header, 40) + number::<8>(header, 48), meta.len() as u64);
    assert!(spans > 8 && spans <= chunks, "{spans} spans, {chunks} chunks");
    let windows = meta.len() - 24 * chunks - 40 * spans;
    let (mut next, mut end) = (0, 0);
    for chunk in meta[..24 * chunks].chunks_exact(24) {
        let (from, stored) = (number::<5>(chunk, 8), number::<3>(chunk, 13));
        assert!(from >= end, "a chunk begins before another ends");
        end = from + stored;
        assert!(end <= layer.len() as u64);
        let span = number::<4>(chunk, 20);
        assert!(span == next || span + 1 == next, "every span has a chunk");
        next = span + 1;
        let span = &meta[24 * chunks + 40 * span as usize..][..40];
        let within = number::<4>(chunk, 16) + number::<3>(chunk, 4) + 1;
        assert!(within <= number::<4>(span, 28) && number::<4>(span, 28) <= 16 << 20);
    }
    assert_eq!(next as usize, spans);
    for span in meta[24 * chunks..][..40 * spans].chunks_exact(40) {
        assert!(number::<8>(span, 0) + number::<4>(span, 24) <= layer.len() as u64);
        assert!(number::<8>(span, 16) + number::<4>(span, 32) <= windows as u64);
        assert!(number::<4>(span, 24) <= 3 << 20 && span[37] < 8);
    }
}

#[test]
fn the_index_does_not_depend_on_reads_or_threads() {
    let layer = members(&tar(&entries()), 1_000_000);
    let index = |threads, steps: &[usize]| {
        let mut output = Kept::default();
        let driver = Nydus::new(referring(), Limits::default());
        let made = driver.convert(&Pool::new(threads), &mut Downloads::of(&layer).in_steps(steps), &mut output);
        (made.unwrap(), Digest::of(&output.blob))
    };
    let expected: (Converted, Digest) = index(1, &[usize::MAX]);
    for (threads, steps) in [(1, &[1][..]), (2, &[1000, 77]), (8, &[100_000])] {
        assert_eq!(index(threads, steps), expected);
    }
}

#[test]
fn layers_without_contents_have_an_index_without_sections() {
    for entries in [vec![], vec![dir("d"), file("d/empty", "")]] {
        let layer = tar(&entries);
        let built = build_tars(&[gzip(&layer)], &referring()).unwrap();
        assert_eq!(differences(&built, &[layer]), Vec::<String>::new());
        assert!(built.bootstrap().blobs().is_empty());
    }
}

#[test]
fn what_cannot_be_referred_to_is_refused_by_name() {
    let tar = tar(&[file("f", noise(5120, 1))]);
    let rows = [
        (zstd(&tar), "zstd"),
        (tar.clone(), "not compressed"),
        (Vec::new(), "not compressed"),
        (gzip(&tar[..512 + 5120]), "want something behind it"),
    ];
    for (layer, expected) in rows {
        let error = build_tars(&[layer], &referring()).map(drop).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert!(
            matches!(error, DriverError::Unrepresentable { .. }) && error.to_string().contains(expected),
            "{error}"
        );
    }
    // At level 1 the encoder makes one block of it all.
    let large = gzip_in_one_block(&[file("small", "s"), file("large", text(1, 20 << 20))]);
    let error = build_tars(&[large], &referring()).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("large: ") && error.to_string().contains("one block"), "{error}");
}

fn gzip_in_one_block(entries: &[Entry]) -> Vec<u8> {
    member(&tar(entries), 1)
}

#[test]
fn an_index_is_merged_for_its_layer_alone() {
    let layer = gzip(&tar(&[file("f", "f")]));
    let built = build_tars(std::slice::from_ref(&layer), &referring()).unwrap();
    let parts = [Part { source: Digest::of(b"another"), ..part(&built.layers[0]) }];
    let driver = Nydus::new(referring(), Limits::default());
    let merged = driver.merge().unwrap().merge(&parts, &mut Store(&built.blobs), &mut Kept::default());
    let error = merged.map(drop).unwrap_err();
    assert!(error.to_string().contains("an index into another layer"), "{error}");
}

#[test]
fn what_is_compressed_with_gzip_refers_to_original_layers() {
    let built = build_tars(&[gzip(&tar(&[file("f", "f")]))], &referring()).unwrap();
    let mut boot = built.boot().to_vec();
    let features = number::<8>(&boot, 1160) as usize + 84;
    assert!(boot[features] & 0x1c == 0x1c, "it is the byte");
    boot[features] ^= 8;
    let fault = Bootstrap::parse(boot).map(drop).unwrap_err();
    assert!(fault.to_string().contains("stored in another way"), "{fault}");
}

#[test]
fn an_index_of_something_else_is_noticed() {
    let layer = members(&tar(&entries()), 3_000_000);
    let built = build_tars(std::slice::from_ref(&layer), &referring()).unwrap();
    let blob = &built.bootstrap().blobs()[0].clone();
    let index = &built.blobs[&blob.index.unwrap()];
    let says = |index: &[u8], original: &[u8]| check_with(&built, blob, index, original);
    assert_eq!(says(index, &layer).unwrap(), Vec::<String>::new());

    let mut other = layer.clone();
    other[layer.len() / 2] ^= 1;
    assert!(!says(index, &other).unwrap().is_empty());
    assert!(says(index, &layer[..layer.len() / 2]).unwrap().iter().any(|what| what.contains("cannot be read")));
    assert!(says(&index[..index.len() / 50], &layer).is_err());
    let mut torn = index.clone();
    torn[100] ^= 0x10;
    assert!(says(&torn, &layer).map_or(true, |wrong| !wrong.is_empty()));
}
