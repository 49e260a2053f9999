//! What is where in blobs and bootstraps of RAFS v5, read with code of its own.

use std::collections::BTreeMap;

use accel_domain::{NydusCompressor, NydusOptions};
use accel_driver_nydus::{BLOB, BOOTSTRAP, FS_VERSION};
use accel_image::{Digest, media_type};
use accel_test_support::tar::{char_device, dir, fifo, file, hardlink, symlink};
use accel_test_support::{Entry, text};

use crate::blob::header;
use crate::built::{Built, build, checked, options, small_chunks, v5};

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
}

/// Where the record of this number begins.
pub(crate) fn record_at(boot: &[u8], number: usize) -> usize {
    u32_at(boot, u64_at(boot, 32) + 4 * (number - 1)) * 8
}

fn layer() -> Vec<Entry> {
    vec![
        dir("d/"),
        file("d/text", text(1, 20_000)).xattr("user.b", b"2\0").xattr("user.a", b""),
        file("d/again", text(1, 20_000)),
        dir("d/e/"),
        hardlink("d/e/link", "s"),
        hardlink("h", "d/text"),
        symlink("s", "d/text"),
        hardlink("t", "s"),
        file("one", b"1"),
        char_device("null", 1, 3),
        fifo("pipe"),
    ]
}

/// Layers whose links have their targets before them.
fn sorted_layer() -> Vec<Entry> {
    let mut layer = layer();
    let link = layer.remove(4);
    layer.push(link);
    layer
}

fn sample(compressor: NydusCompressor) -> Built {
    let options = v5(&options(compressor, 4096));
    checked(&[&sorted_layer(), &[file("x", b"2"), symlink("y", "x")]], &options)
}

#[test]
fn a_blob_ends_with_its_bootstrap() {
    for compressor in [NydusCompressor::Zstd, NydusCompressor::Lz4Block, NydusCompressor::None] {
        let built = sample(compressor);
        let blob = &built.blobs[&built.layers[0].digest];
        let (name, boot_bytes) = header(blob, blob.len() - 512);
        assert_eq!(name, "image.boot");
        let boot_at = blob.len() - 512 - boot_bytes;
        assert_eq!(header(blob, boot_at - 512), ("image.blob".to_owned(), boot_at - 512));
        let boot = &blob[boot_at..][..boot_bytes];
        assert_eq!(boot[..4], *b"SFAR");
        let (content, digest) = boot.split_at(boot.len() - 32);
        assert_eq!(*digest, *Digest::of(content).as_bytes());
        assert_eq!(boot[u64_at(boot, 48) + 8..][..64], [b'x'; 64]);
        assert_eq!(u64_at(boot, u64_at(boot, 72) + 16), boot_at, "everything before the bootstrap");
    }
    let built = build(&[&[dir("d/"), file("empty", b""), symlink("s", "d")], &[]], &v5(&small_chunks()));
    for layer in &built.layers {
        let blob = &built.blobs[&layer.digest];
        assert_eq!(header(blob, blob.len() - 512), ("image.boot".to_owned(), blob.len() - 512));
        assert_eq!((u32_at(blob, 64), u32_at(blob, 68)), (0, 0), "no blobs");
    }
}

#[test]
fn descriptors_say_what_they_must() {
    let built = sample(NydusCompressor::Zstd);
    let layer = &built.layers[0];
    assert_eq!((layer.media_type, layer.diff_id), (media_type::NYDUS_BLOB, layer.digest));
    assert_eq!(
        layer.annotations.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>(),
        [(BLOB, "true")]
    );
    let said: BTreeMap<&str, &str> =
        built.merged.annotations.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    assert_eq!(said, BTreeMap::from([(BOOTSTRAP, "true"), (FS_VERSION, "5")]));
    assert_eq!(built.files.keys().collect::<Vec<_>>(), ["image/", "image/image.boot"], "there is no blob.meta");
}

#[test]
fn a_bootstrap_begins_as_nydusd_wants_it() {
    let built = sample(NydusCompressor::Zstd);
    let boot = built.boot();
    assert!(boot.len().is_multiple_of(8));
    assert_eq!([0, 4, 8, 12].map(|at| u32_at(boot, at)), [0x5241_4653, 0x500, 8192, 4096]);
    assert_eq!(u64_at(boot, 16), 0x80 | 8 | 0x10 | 0x20, "flags");
    assert_eq!((u64_at(boot, 24), u32_at(boot, 56)), (11, 14), "inodes and names");
    let prefetch = 8192 + 14 * 4;
    assert_eq!((u64_at(boot, 32), u64_at(boot, 40), u32_at(boot, 60)), (8192, prefetch, 1));
    assert_eq!(u32_at(boot, prefetch), 1, "the root");
    let (names, extended) = (prefetch + 8, prefetch + 8 + 152);
    assert_eq!((u64_at(boot, 48), u32_at(boot, 64)), (names, 152), "8 and 64 bytes, a zero, 8 and 64, padded");
    assert_eq!((u64_at(boot, 72), u32_at(boot, 68)), (extended, 2));
    assert_eq!(record_at(boot, 1), extended + 2 * 64);
    assert!(boot[80..8192].iter().all(|byte| *byte == 0), "nothing of ours is in an image's");
    let id = |at: usize| built.layers[at].digest.hex();
    let expected = [&[0; 8][..], id(0).as_bytes(), &[0; 9], id(1).as_bytes(), &[0; 7]].concat();
    assert_eq!(boot[names..extended], expected);
    let first = &boot[extended..][..64];
    assert_eq!((u32_at(first, 0), u32_at(first, 4)), (6, 0x5000_0000), "chunks, and features");
    assert_eq!(u64_at(first, 8), 6 * 4096, "uncompressed");
    assert_eq!(first[24..], [0; 40]);
}

/// The path of each number.
fn paths(boot: &[u8]) -> Vec<String> {
    let name = |number: usize| {
        let at = record_at(boot, number);
        (String::from_utf8(boot[at + 128..][..u16_at(boot, at + 100)].to_vec()).unwrap(), u64_at(boot, at + 32))
    };
    let path = |mut number: usize| {
        let mut path = Vec::new();
        while number > 1 {
            let (name, parent) = name(number);
            path.push(name);
            number = parent;
        }
        path.reverse();
        path.join("/")
    };
    (1..=u32_at(boot, 56)).map(path).collect()
}

#[test]
fn children_have_numbers_one_behind_the_other() {
    let built = sample(NydusCompressor::Zstd);
    let boot = built.boot();
    assert_eq!(boot[record_at(boot, 1) + 128..][..8], *b"/\0\0\0\0\0\0\0");
    let expected = " d h null one pipe s t x y d/again d/e d/text d/e/link";
    assert_eq!(paths(boot).join(" "), expected);
    let field = |number: usize, at: usize| u32_at(boot, record_at(boot, number) + at);
    let children = |number| (field(number, 92), field(number, 96));
    assert_eq!([1, 2, 12].map(children), [(2, 9), (11, 3), (14, 1)]);
    let inode = |number: usize| (u64_at(boot, record_at(boot, number) + 40), field(number, 88));
    assert_eq!([1, 2, 12].map(inode), [(1, 3), (2, 3), (12, 2)], "directories");
    assert_eq!([3, 13].map(inode), [(13, 2), (13, 2)], "a file of two names has the number of the last");
    assert_eq!([7, 8, 14].map(inode), [(14, 3), (14, 3), (14, 3)], "and so has a symbolic link");
    assert_eq!((field(4, 104), field(4, 60)), (0x103, 0o020_666), "a device");
    // 9 names of 20 bytes; those with several names have a flag, and others for links and attributes.
    let shape = |number: usize| [64, 72, 80].map(|at| u64_at(boot, record_at(boot, number) + at));
    assert_eq!([1, 3, 5, 7].map(shape), [[4096, 8, 0], [20_000, 40, 6], [1, 1, 0], [6, 1, 3]]);
}

/// The digest that the record of this number must have, by those of its chunks or children.
fn digest_of(boot: &[u8], number: usize) -> Digest {
    let at = record_at(boot, number);
    let (name, target, count) = (u16_at(boot, at + 100), u16_at(boot, at + 102), u32_at(boot, at + 96));
    let behind = at + 128 + name.next_multiple_of(8);
    match u32_at(boot, at + 60) & 0o170_000 {
        0o040_000 => {
            let children = (u32_at(boot, at + 92)..).take(count);
            Digest::of(&children.flat_map(|child| *digest_of(boot, child).as_bytes()).collect::<Vec<_>>())
        }
        0o100_000 => {
            let has_xattrs = boot[at + 80] & 4 != 0;
            let xattrs = if has_xattrs { 8 + u64_at(boot, behind).next_multiple_of(8) } else { 0 };
            let chunks = (behind + xattrs..).step_by(80).take(count);
            Digest::of(&chunks.flat_map(|chunk| boot[chunk..chunk + 32].to_vec()).collect::<Vec<_>>())
        }
        _ => Digest::of(&boot[behind..][..target]),
    }
}

#[test]
fn inodes_have_digests() {
    let built = sample(NydusCompressor::Zstd);
    let boot = built.boot();
    for number in 1..=u32_at(boot, 56) {
        assert_eq!(boot[record_at(boot, number)..][..32], *digest_of(boot, number).as_bytes(), "{number}");
    }
}

#[test]
fn attributes_and_chunks_follow_a_name() {
    let built = sample(NydusCompressor::Zstd);
    let (boot, blob) = (built.boot(), &built.blobs[&built.layers[0].digest]);
    let xattrs = record_at(boot, 13) + 128 + 8;
    let expected = b"\x18\0\0\0\0\0\0\0\x07\0\0\0user.a\0\x09\0\0\0user.b\x002\0";
    assert_eq!(boot[xattrs..][..32], expected[..], "sorted");
    let mut content = Vec::new();
    for (number, chunk) in boot[xattrs + 8 + 24..].chunks(80).take(5).enumerate() {
        assert_eq!((u32_at(chunk, 32), u32_at(chunk, 72), u32_at(chunk, 76)), (0, number, 0), "blob, number, checksum");
        assert_eq!((u64_at(chunk, 56), u64_at(chunk, 64)), (4096 * number, 4096 * number));
        let stored = &blob[u64_at(chunk, 48)..][..u32_at(chunk, 40)];
        assert_eq!(u32_at(chunk, 36), 1, "compressed");
        let bytes = zstd::decode_all(stored).unwrap();
        assert_eq!((bytes.len(), &chunk[..32]), (u32_at(chunk, 44), &Digest::of(&bytes).as_bytes()[..]));
        content.extend(bytes);
    }
    assert_eq!(content, text(1, 20_000));
}

#[test]
fn chunks_that_no_file_has_have_no_number() {
    let layer = [file("f", text(1, 9000)), file("g", b"stays"), file("f", b"another"), file("h", b"last")];
    let built = checked(&[&layer], &v5(&small_chunks()));
    assert_eq!(built.bootstrap().blobs()[0].chunk_count, 3);
    let gone = checked(&[&[file("f", b"1"), dir("f/")], &[file("g", b"2")]], &v5(&small_chunks()));
    assert_eq!(gone.bootstrap().blobs().len(), 1);
}

#[test]
fn paths_to_fetch_ahead_are_in_the_table() {
    let table = |prefetch: &[&str]| {
        let prefetch = prefetch.iter().map(ToString::to_string).collect();
        let built = build(&[&sorted_layer()], &NydusOptions { prefetch, ..v5(&small_chunks()) });
        let boot = built.boot();
        let (at, count) = (u64_at(boot, 40), u32_at(boot, 60));
        assert_eq!(built.bootstrap().prefetches(), count);
        (0..count).map(|entry| paths(boot)[u32_at(boot, at + 4 * entry) - 1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(table(&[]), [""; 0]);
    assert_eq!(table(&["/one", "/none", "/d/", "/one", "/h"]), ["one", "d", "d/text"]);
}
