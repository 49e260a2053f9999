//! The reader against bootstraps and blobs that lie.

use std::collections::HashMap;
use std::io::{self, Read};

use accel_driver::conformance::Kept;
use accel_driver::{Blobs, Driver, DriverError, Merged, Part};
use accel_driver_nydus::Nydus;
use accel_driver_nydus::reader::{Bootstrap, ChunkRef, FormatError, check_chunk};
use accel_image::Digest;
use accel_stream::{Limits, StreamError};
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink};
use accel_test_support::{tar, text};
use proptest::prelude::*;

use crate::blob::sections;
use crate::built::{Built, Store, build, part, small_chunks};

fn sample() -> Built {
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

fn walk(boot: Vec<u8>, limits: Limits) -> Result<usize, FormatError> {
    let bootstrap = Bootstrap::parse(boot)?;
    let mut paths = 0;
    bootstrap.walk(limits, &mut |_, _| paths += 1)?;
    Ok(paths)
}

/// Where the inode of this path lies.
fn inode(built: &Built, path: &str) -> usize {
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
        ("version 5", 0, vec![0x53, 0x46, 0x41, 0x52]),
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
        ("extended attributes", text + 2, vec![0xff, 0xff]),
        ("a name space is not known", text + 64 + 12 + 1, vec![5]),
        ("extended attributes", text + 64 + 12 + 2, vec![0xff, 0xff]),
        ("chunks of a file", text + 8, vec![0, 0, 0, 0, 0, 0xff]),
        ("says otherwise", text + 8, vec![0x21]),
        ("an impossible length", link + 8, vec![0; 8]),
        ("an impossible length", link + 9, vec![0x10]),
        ("impossible number of entries", root + 64 + 8, vec![13]),
        ("impossible number of entries", root + 64 + 8, vec![0]),
        ("another directory", root + 64, vec![3]),
        ("data of a directory", directory + 9, vec![0xff, 0xff]),
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

/// A blob of nothing but this bootstrap, with digests that are right.
fn blob_with(boot: &[u8]) -> Vec<u8> {
    let header = |name: &str, size: usize| {
        let mut header = tar(&[file(name, b"").size_field(size as u64)]);
        header.truncate(512);
        header
    };
    let size = (boot.len() as u64).to_le_bytes();
    let mut toc = [&[1, 0, 0, 0, 0, 0, 0, 0][..], b"image.boot\0\0\0\0\0\0", Digest::of(boot).as_bytes()].concat();
    toc.extend([[0; 8], size, size].concat());
    toc.resize(128, 0);
    [boot, &header("image.boot", boot.len()), &toc, &header("rafs.blob.toc", 128)].concat()
}

fn merge_of(boot: &[u8], limits: Limits) -> Result<Merged, DriverError> {
    merge_over(&build(&[], &small_chunks()), boot, limits)
}

/// Merges the layers of `lower` and one of nothing but this bootstrap.
fn merge_over(lower: &Built, boot: &[u8], limits: Limits) -> Result<Merged, DriverError> {
    let blob = blob_with(boot);
    let digest = Digest::of(&blob);
    let mut parts: Vec<Part> = lower.layers.iter().map(part).collect();
    parts.push(Part { source: digest, digest, size: blob.len() as u64 });
    let mut blobs = lower.blobs.clone();
    blobs.insert(digest, blob);
    Nydus::new(small_chunks(), limits).merge().unwrap().merge(&parts, &mut Store(&blobs), &mut Kept::default())
}

#[test]
fn a_merge_does_not_go_around_in_circles_either() {
    let built = build(&[&[dir("d/"), dir("d/e/")]], &small_chunks());
    let mut boot = sections(&built.blobs[&built.layers[0].digest])["image.boot"].content.clone();
    assert!(merge_of(&boot, Limits::default()).is_ok());
    let limited = merge_of(&boot, Limits { entries: 1, ..Limits::default() });
    assert!(matches!(limited, Err(DriverError::Damaged { ref reason, .. }) if reason.contains("limit of 1")));
    // `d/e` becomes `d`: an inode has 64 bytes, and two entries before the third.
    let directory = inode(&built, "d");
    let number = (built.inodes()[b"d".as_slice()].nid as u32).to_le_bytes();
    boot[directory + 64 + 24..][..4].copy_from_slice(&number);
    let failed = merge_of(&boot, Limits::default());
    assert!(
        matches!(failed, Err(DriverError::Damaged { ref reason, .. }) if reason.contains("two places")),
        "{failed:?}"
    );
}

/// The bootstrap of a layer with nothing but these links.
fn boot_with_links(links: &[(&[u8], &[u8])]) -> Vec<u8> {
    let built = build(&[&[dir("d/")]], &small_chunks());
    let mut boot = sections(&built.blobs[&built.layers[0].digest])["image.boot"].content.clone();
    let section: Vec<u8> = links
        .iter()
        .flat_map(|(path, target)| {
            let lengths = [path, target].map(|text| (text.len() as u32).to_le_bytes()).concat();
            [&lengths[..], path, target].concat()
        })
        .collect();
    let place = [boot.len() as u64, section.len() as u64].map(u64::to_le_bytes).concat();
    boot[1208..1212].copy_from_slice(b"ALNK");
    boot[1216..1232].copy_from_slice(&place);
    boot.extend(section);
    boot
}

#[test]
fn links_to_layers_below_are_links_that_can_be() {
    let (long, longer) = (vec![b'n'; 256], vec![b'n'; 4085]);
    let deep = b"a/".repeat(2049);
    let rows: [(&[u8], &[u8], &str); 15] = [
        (b"h", b"d", "is a directory"),
        (&long, b"d", "name that no file can have"),
        (&longer, b"d", "name that no file can have"),
        (b"a\0b", b"d", "name that no file can have"),
        (b"", b"d", "name that no file can have"),
        (b"/h", b"d", "name that no file can have"),
        (b"a//h", b"d", "name that no file can have"),
        (b"a/", b"d", "name that no file can have"),
        (b"a/./h", b"d", "name that no file can have"),
        (b"../h", b"d", "name that no file can have"),
        (b"h", b"", "name that no file can have"),
        (b"h", b"d\0", "name that no file can have"),
        (b"d/.wh.h", b"d", "name of a whiteout"),
        (&deep[..4097], b"d", "longer than the limit"),
        (b"h", &deep[..4097], "longer than the limit"),
    ];
    for (path, target, expected) in rows {
        let lower = build(&[&[dir("d/"), file("f", b"1")]], &small_chunks());
        let told = merge_over(&lower, &boot_with_links(&[(b"ok", b"f"), (path, target)]), Limits::default());
        let told = told.unwrap_err().to_string();
        assert!(told.contains(expected), "{told:?} instead of {expected:?} for {}", path.escape_ascii());
    }
    let lower = build(&[&[file("f", b"1")]], &small_chunks());
    let three = boot_with_links(&[(b"1", b"f"), (b"2", b"f"), (b"3", b"f")]);
    for (entries, fits) in [(2, false), (4, true)] {
        let merged = merge_over(&lower, &three, Limits { entries, ..Limits::default() });
        assert_eq!(merged.is_ok(), fits, "{merged:?}");
        assert!(merged.map_or_else(|error| error.to_string().contains("limit of 2"), |_| true));
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
    let built = sample();
    for len in (0..built.boot().len()).step_by(97) {
        // What is missing at the very end is only padding.
        let cut = walk(built.boot()[..len].to_vec(), Limits::default());
        assert!(cut.is_err() || built.boot()[len..].iter().all(|byte| *byte == 0), "{len}");
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

/// Blobs of which one byte is another.
struct Flipped<'b> {
    blobs: &'b HashMap<Digest, Vec<u8>>,
    at: usize,
    bit: u8,
    bytes: Vec<u8>,
}

impl Blobs for Flipped<'_> {
    fn read(&mut self, part: &Part, from: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let mut blob = self.blobs[&part.digest].clone();
        let at = self.at % blob.len();
        blob[at] ^= self.bit;
        self.bytes = blob[from as usize..][..len as usize].to_vec();
        Ok(Box::new(&self.bytes[..]))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Digests cover the sections, so that what was damaged is either not read or found out.
    #[test]
    fn a_damaged_blob_never_gives_another_image(at in 0_usize..6000, bit in 0..8_u8) {
        let built = sample();
        let driver = Nydus::new(small_chunks(), Limits::default());
        let parts: Vec<Part> = built.layers.iter().map(part).collect();
        let mut blobs = Flipped { blobs: &built.blobs, at, bit: 1 << bit, bytes: Vec::new() };
        match driver.merge().unwrap().merge(&parts, &mut blobs, &mut Kept::default()) {
            Ok(merged) => prop_assert_eq!(merged, built.merged),
            Err(DriverError::Damaged { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

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

#[test]
fn a_layer_that_is_another_when_it_is_read_again_is_damaged() {
    let few = build(&[&[file("f", b"1")]], &small_chunks());
    let many = build(&[&[file("f", text(1, 20_000))]], &small_chunks());
    let driver = Nydus::new(small_chunks(), Limits::default());
    for (first, second, fits) in [(&few, &many, false), (&many, &few, false), (&many, &many, true)] {
        let parts = [first, second].map(|built| Part { digest: few.layers[0].digest, ..part(&built.layers[0]) });
        let mut blobs = Turns([first, second].map(|built| built.blobs[&built.layers[0].digest].clone()).to_vec());
        let merged = driver.merge().unwrap().merge(&parts, &mut blobs, &mut Kept::default());
        let told = matches!(&merged, Err(DriverError::Damaged { reason, .. }) if reason.contains("another"));
        assert!(if fits { merged.is_ok() } else { told }, "{merged:?}");
    }
}

/// Blobs that are each read in two requests, one blob after the other.
struct Turns(Vec<Vec<u8>>);

impl Blobs for Turns {
    fn read(&mut self, part: &Part, from: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let end = from + len;
        let blob = if end == part.size { self.0[0].clone() } else { self.0.remove(0) };
        Ok(Box::new(io::Cursor::new(blob[from as usize..end as usize].to_vec())))
    }
}

/// A source that breaks.
struct Breaking;

impl Blobs for Breaking {
    fn read(&mut self, _: &Part, _: u64, _: u64) -> io::Result<Box<dyn Read + '_>> {
        Err(StreamError::Cut.into())
    }
}

#[test]
fn the_sources_own_errors_stay_what_they_are() {
    let built = sample();
    let driver = Nydus::new(small_chunks(), Limits::default());
    let parts: Vec<Part> = built.layers.iter().map(part).collect();
    let failed = driver.merge().unwrap().merge(&parts, &mut Breaking, &mut Kept::default());
    assert!(matches!(failed, Err(DriverError::Source(StreamError::Cut))), "{failed:?}");
}

#[test]
fn blobs_of_other_options_and_of_other_formats_are_refused() {
    let built = sample();
    let parts: Vec<Part> = built.layers.iter().map(part).collect();
    let other = Nydus::new(accel_domain::NydusOptions::default(), Limits::default());
    let failed = other.merge().unwrap().merge(&parts, &mut Store(&built.blobs), &mut Kept::default());
    assert!(matches!(failed, Err(DriverError::Damaged { ref reason, .. }) if reason.contains("other options")));

    let driver = Nydus::new(small_chunks(), Limits::default());
    for blob in [Vec::new(), vec![0; 100], vec![0; 5000], text(1, 2000)] {
        let digest = Digest::of(&blob);
        let part = Part { source: digest, digest, size: blob.len() as u64 };
        let blobs = HashMap::from([(digest, blob)]);
        let failed = driver.merge().unwrap().merge(&[part], &mut Store(&blobs), &mut Kept::default());
        assert!(matches!(failed, Err(DriverError::Damaged { .. })), "{failed:?}");
    }
}
