//! The reader against bootstraps that lie.

use accel_domain::NydusOptions;
use accel_driver_nydus::reader::{Bootstrap, ChunkRef, FormatError, Inode, check_chunk};
use accel_image::Digest;
use accel_stream::Limits;
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink};
use accel_test_support::text;
use proptest::prelude::*;

use crate::built::{Built, build, small_chunks};
use crate::v5_reader;

pub(crate) fn sample() -> Built {
    build(
        &[
            &[
                dir("d/"),
                file("d/text", text(1, 20_000)).xattr("user.a", b"1"),
                symlink("s", "d"),
                char_device("null", 1, 3),
            ],
            &[hardlink("h", "d/text"), file("x", b"2")],
        ],
        &small_chunks(),
    )
}

pub(crate) fn walk(boot: Vec<u8>, limits: Limits) -> Result<usize, FormatError> {
    let bootstrap = Bootstrap::parse(boot)?;
    let mut paths = 0;
    bootstrap.walk(limits, &mut |_, _| paths += 1)?;
    Ok(paths)
}

/// Where the inode of this path lies.
pub(crate) fn inode(built: &Built, path: &str) -> usize {
    let meta = u32::from_le_bytes(built.boot()[1064..1068].try_into().unwrap()) as usize * 4096;
    meta + built.inodes()[path.as_bytes()].nid as usize * 32
}

#[test]
fn what_is_wrong_is_told() {
    let built = sample();
    let (text, link, directory) = (inode(&built, "d/text"), inode(&built, "s"), inode(&built, "d"));
    let root = inode(&built, "");
    // The root's entries lie behind its inode; the first of them, the dot, begins with its number.
    let rows: Vec<(&str, usize, Vec<u8>)> = vec![
        ("magic", 1024, vec![0]),
        ("version is another than 5", 0, vec![0x53, 0x46, 0x41, 0x52]),
        ("4 KiB", 1036, vec![9]),
        ("other features", 1104, vec![0xd]),
        ("elsewhere", 1112, vec![12]),
        ("compressed in another way", 1152, vec![0x81]),
        ("chunk size", 1152 + 20, vec![0, 0x30]),
        ("table of blobs", 1152 + 16, vec![0xff]),
        ("more or fewer devices", 1110, vec![1]),
        ("table of blobs", 1152 + 8, vec![0, 0, 0, 0, 0, 0, 0, 0xff]),
        ("table of chunks", 1152 + 24, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("prefetch table", 1152 + 40, vec![0xff; 8]),
        ("a name is no digest", 4096, vec![b'g']),
        ("it has a blob twice", 4096 + 256, built.boot()[4096..4096 + 64].to_vec()),
        ("a compressor is not known", 4096 + 76, vec![7]),
        ("a number is not that of its place", 4096 + 64, vec![1]),
        ("too many chunks", 4096 + 75, vec![0xff]),
        ("a chunk is of no blob", 4096 + 72, vec![1]),
        ("inode", 1038, vec![0xff, 0xff]),
        ("no directory", root + 5, vec![0xa1]),
        ("the short form", text, vec![8]),
        ("does not go with", text, vec![1]),
        ("does not go with", text + 5, vec![0x41]),
        ("a type that images do not have", text + 5, vec![0xc1]),
        ("too many nanoseconds", text + 40, vec![0xff; 4]),
        ("no names", text + 44, vec![0]),
        ("extended attributes", text + 2, vec![0xff, 0xff]),
        ("a name space is not known", text + 64 + 12 + 1, vec![5]),
        ("extended attributes", text + 64 + 12 + 2, vec![0xff, 0xff]),
        ("more bytes than there are", text + 8, vec![0, 0, 0, 0, 0, 0xff]),
        ("says otherwise", text + 8, vec![0x21]),
        ("an impossible length", link + 8, vec![0; 8]),
        ("an impossible length", link + 9, vec![0x10]),
        ("impossible number of entries", root + 64 + 8, vec![13]),
        ("impossible number of entries", root + 64 + 8, vec![0]),
        ("another directory", root + 64, vec![3]),
        ("more bytes than there are", directory + 9, vec![0xff, 0xff]),
    ];
    assert_eq!(walk(built.boot().to_vec(), Limits::default()).unwrap(), 7);
    for (expected, at, bytes) in rows {
        let mut boot = built.boot().to_vec();
        boot[at..at + bytes.len()].copy_from_slice(&bytes);
        let error = walk(boot, Limits::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} instead of {expected:?} at {at}");
    }
}

#[test]
fn nothing_goes_around_in_circles() {
    let built = sample();
    let mut boot = built.boot().to_vec();
    let root = inode(&built, "");
    let number = (built.inodes()[b"".as_slice()].nid as u32).to_le_bytes();
    // `d` becomes the root: its entry is the third, behind the two dots.
    boot[root + 64 + 24..][..4].copy_from_slice(&number);
    let error = walk(boot, Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "/d: the bootstrap's directory is wrong: it is in two places");
}

#[test]
fn what_is_in_a_file_is_shown_once_whatever_names_it_has() {
    let mut entries = vec![file("a", text(1, 20_000)).xattr("user.a", b"1"), symlink("s", "a"), hardlink("t", "s")];
    entries.extend((0..9).map(|name| hardlink(format!("b{name}"), "a")));
    for fs_version in [6, 5] {
        let built = build(&[&entries], &NydusOptions { fs_version, ..small_chunks() });
        let (mut names, mut shown) = (0, Vec::new());
        let mut each = |path: &[u8], inode: &Inode| {
            names += usize::from(inode.nlink == 10);
            if !(inode.chunks.is_empty() && inode.xattrs.is_empty() && inode.link.is_empty()) {
                shown.push((path.to_vec(), inode.chunks.len(), inode.xattrs.len(), inode.is_again));
            }
        };
        built.bootstrap().walk(Limits::default(), &mut each).unwrap();
        assert_eq!(names, 10);
        assert_eq!(shown, [(b"a".to_vec(), 5, 1, false), (b"s".to_vec(), 0, 0, false)]);
    }
}

#[test]
fn limits_hold() {
    let built = sample();
    let error = walk(built.boot().to_vec(), Limits { entries: 5, ..Limits::default() }).unwrap_err();
    assert!(matches!(error, FormatError::TooManyEntries { limit: 5 }));
    assert!(walk(built.boot().to_vec(), Limits { entries: 6, ..Limits::default() }).is_ok());
    let error = walk(built.boot().to_vec(), Limits { path_bytes: 5, ..Limits::default() }).unwrap_err();
    assert!(error.to_string().contains("longer than the limit"), "{error}");
}

#[test]
fn a_bootstrap_that_is_cut_off_is_refused() {
    let (v6, v5) = (sample(), v5_reader::sample());
    // Behind that is only padding.
    let v6_bytes = v6.boot().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for boot in [&v6.boot()[..v6_bytes], v5.boot()] {
        for len in (0..boot.len()).step_by(97) {
            assert!(walk(boot[..len].to_vec(), Limits::default()).is_err(), "{len}");
        }
    }
}

#[test]
fn chunks_are_held_to_their_digests() {
    let built = sample();
    let bootstrap = built.bootstrap();
    let chunk = built.inodes()[b"d/text".as_slice()].chunks[1];
    let blob = &built.blobs[&built.layers[0].digest];
    let stored = blob[chunk.compressed_offset as usize..][..chunk.compressed_size as usize].to_vec();
    let check = |stored: &[u8]| check_chunk(bootstrap.compressor(), stored, &chunk).map_err(|fault| fault.to_string());
    assert_eq!(check(&stored), Ok(()));
    assert!(check(&stored[1..]).unwrap_err().contains("another length"));
    assert!(check(&vec![7; stored.len()]).unwrap_err().contains("cannot be decompressed"));
    let other = ChunkRef { digest: Digest::of(b"other"), ..chunk };
    let error = check_chunk(bootstrap.compressor(), &stored, &other).unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut boot = sample().boot().to_vec();
        for (at, byte) in edits {
            let at = at.index(boot.len());
            boot[at] = byte;
        }
        drop(walk(boot, Limits { entries: 1000, ..Limits::default() }));
    }
}
