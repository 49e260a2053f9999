//! The merge against blobs that lie.

use std::collections::HashMap;
use std::io::{self, Read};

use accel_domain::NydusCompressor;
use accel_driver::conformance::Kept;
use accel_driver::{Blobs, Driver, DriverError, Merged, Part};
use accel_driver_nydus::Nydus;
use accel_image::Digest;
use accel_stream::{Limits, StreamError};
use accel_test_support::nydus::{blob_with, reseal, toc_entry};
use accel_test_support::tar::{dir, fifo, file, hardlink};
use accel_test_support::{Entry, text};
use proptest::prelude::*;

use crate::blob::sections;
use crate::built::{Built, Store, build, options, part, small_chunks};
use crate::reader::{inode, sample, walk};

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
    let mut boot = boot_of(&built);
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

/// The bootstrap of a layer of its own.
fn boot_of(built: &Built) -> Vec<u8> {
    sections(&built.blobs[&built.layers[0].digest])["image.boot"].content.clone()
}

#[test]
fn a_file_has_as_many_names_as_it_says() {
    let built = build(&[&[file("a", b""), hardlink("b", "a")]], &small_chunks());
    let mut boot = boot_of(&built);
    assert!(merge_of(&boot, Limits::default()).is_ok());
    boot[inode(&built, "a") + 44] = 1;
    let told = merge_of(&boot, Limits::default()).unwrap_err().to_string();
    assert!(told.contains("more names than it says"), "{told}");
}

#[test]
fn paths_are_no_longer_than_the_limit() {
    let boot = boot_of(&build(&[&[dir("d/"), file("d/ef", b"")]], &small_chunks()));
    for (path_bytes, fits) in [(4, true), (3, false)] {
        let merged = merge_of(&boot, Limits { path_bytes, ..Limits::default() });
        assert_eq!(merged.is_ok(), fits, "{merged:?}");
        assert!(merged.map_or_else(|error| error.to_string().contains("longer than the limit"), |_| true));
    }
}

/// Each 32 bytes of an attribute's value are the beginning of a named pipe with an attribute of its own.
#[test]
fn inodes_do_not_lie_over_each_other() {
    let pipe = [
        &[1, 0][..],
        &4002_u16.to_le_bytes(),
        &0o010_644_u16.to_le_bytes(),
        &[0; 6],
        &[0, 1],
        &16_000_u16.to_le_bytes(),
    ];
    let mut pipe = pipe.concat();
    pipe.resize(32, 0);
    // The value begins at byte 81, the next inode could at 96.
    let value = [vec![0; 15], pipe.repeat(1800)].concat();
    let mut layer: Vec<Entry> = (0..20).map(|at| fifo(format!("f{at:02}"))).collect();
    layer.push(file("a", b"").xattr("user.a", value));
    let built = build(&[&layer], &small_chunks());
    let mut boot = boot_of(&built);
    assert!(merge_of(&boot, Limits::default()).is_ok() && walk(boot.clone(), Limits::default()).is_ok());
    let (entries, number) = (inode(&built, "") + 64, built.inodes()[b"a".as_slice()].nid as u32);
    for at in 0..20 {
        boot[entries + 12 * (3 + at as usize)..][..4].copy_from_slice(&(number + 3 + at).to_le_bytes());
    }
    let merged = merge_of(&boot, Limits::default()).map_err(|error| error.to_string());
    let walked = walk(boot, Limits::default()).map_err(|error| error.to_string());
    for told in [merged.map(drop), walked.map(drop)] {
        assert!(told.as_ref().is_err_and(|told| told.contains("more bytes than there are")), "{told:?}");
    }
}

/// The bootstrap of a layer with nothing but these links.
fn boot_with_links(links: &[(&[u8], &[u8])]) -> Vec<u8> {
    let built = build(&[&[dir("d/")]], &small_chunks());
    let mut boot = boot_of(&built);
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
    for (entries, fits) in [(2, false), (4, false), (5, true)] {
        let merged = merge_over(&lower, &three, Limits { entries, ..Limits::default() });
        assert_eq!(merged.is_ok(), fits, "{merged:?}");
        assert!(merged.map_or_else(|error| error.to_string().contains("limit"), |_| true));
    }
}

#[test]
fn sections_about_chunks_are_held_to_the_bootstrap() {
    /// What is done to a blob, and to what it is damage.
    type Row = (&'static str, fn(&mut Vec<u8>, &dyn Fn(&str) -> usize));
    let rows: [Row; 9] = [
        ("either chunks or sections", |blob, entry| {
            blob[entry("blob.meta") + 8] = b'x';
            blob[entry("blob.meta.header") + 8] = b'x';
        }),
        ("do not go together", |blob, entry| blob[entry("blob.meta") + 8] = b'x'),
        ("do not go together", |blob, entry| blob[entry("blob.meta.header") + 8] = b'x'),
        ("not about those", |blob, entry| flip(blob, entry("blob.meta"), 0)),
        ("not about those", |blob, entry| flip(blob, entry("blob.meta.header"), 100)),
        ("not about those", |blob, entry| {
            let entry = entry("blob.meta.header");
            [64, 72].iter().for_each(|at| blob[entry + at + 1] -= 1);
        }),
        ("not about those", |blob, entry| {
            let entry = entry("blob.meta");
            [64, 72].iter().for_each(|at| blob[entry + at] -= 16);
            blob[entry + 56] += 16;
        }),
        ("lies beyond its end", |blob, entry| blob[entry("blob.meta") + 62] = 1),
        ("compressed in a way", |blob, entry| blob[entry("blob.meta")] = 4),
    ];
    let built = build(&[&[file("f", text(1, 20_000)), file("g", b"1")]], &options(NydusCompressor::Lz4Block, 4096));
    let driver = Nydus::new(options(NydusCompressor::Lz4Block, 4096), Limits::default());
    let merge = |mut blob: Vec<u8>| {
        reseal(&mut blob);
        let digest = Digest::of(&blob);
        let part = Part { source: digest, digest, size: blob.len() as u64 };
        driver.merge().unwrap().merge(&[part], &mut Store(&HashMap::from([(digest, blob)])), &mut Kept::default())
    };
    let blob = &built.blobs[&built.layers[0].digest];
    assert_eq!(merge(blob.clone()).unwrap(), built.merged);
    for (at, (expected, damage)) in rows.into_iter().enumerate() {
        let mut damaged = blob.clone();
        damage(&mut damaged, &|name| toc_entry(blob, name).unwrap().start);
        let told = merge(damaged).unwrap_err();
        assert!(matches!(&told, DriverError::Damaged { reason, .. } if reason.contains(expected)), "{at}: {told}");
    }
}

/// Changes a byte of the section whose entry begins here.
fn flip(blob: &mut [u8], entry: usize, at: usize) {
    let start = u64::from_le_bytes(blob[entry + 56..][..8].try_into().unwrap());
    blob[start as usize + at] ^= 1;
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

/// Blobs of which one byte is another.
pub(crate) struct Flipped<'b> {
    blobs: &'b HashMap<Digest, Vec<u8>>,
    at: usize,
    bit: u8,
    bytes: Vec<u8>,
}

impl<'b> Flipped<'b> {
    /// `at` counts around in circles.
    pub(crate) const fn new(blobs: &'b HashMap<Digest, Vec<u8>>, at: usize, bit: u8) -> Self {
        Self { blobs, at, bit, bytes: Vec::new() }
    }
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
        let mut blobs = Flipped::new(&built.blobs, at, 1 << bit);
        match driver.merge().unwrap().merge(&parts, &mut blobs, &mut Kept::default()) {
            Ok(merged) => prop_assert_eq!(merged, built.merged),
            Err(DriverError::Damaged { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
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
