//! The reader against bootstraps and blobs of RAFS v5 that lie.

use std::collections::HashMap;

use accel_driver::conformance::Kept;
use accel_driver::{Driver, DriverError, Merged, Part};
use accel_driver_nydus::Nydus;
use accel_image::Digest;
use accel_stream::Limits;
use accel_test_support::nydus::v5_blob_with;
use accel_test_support::tar::{char_device, dir, file, hardlink, symlink};
use accel_test_support::{tar, text};
use proptest::prelude::*;

use crate::built::{Built, Store, build, part, small_chunks, v5};
use crate::merge::Flipped;
use crate::reader::walk;
use crate::v5::{record_at, u64_at};

pub(crate) fn sample() -> Built {
    let lower = [
        dir("d/"),
        file("d/text", text(1, 20_000)).xattr("user.a", b"1"),
        symlink("s", "d"),
        hardlink("t", "s"),
        char_device("null", 1, 3),
    ];
    build(&[&lower, &[hardlink("h", "d/text"), file("x", b"2")]], &v5(&small_chunks()))
}

#[test]
fn what_is_wrong_is_told() {
    let built = sample();
    let boot = built.boot();
    // 1 /, 2 d, 3 h, 4 null, 5 s, 6 t, 7 x, 8 d/text
    let [root, directory, link, null, first, second, x, text] = [1, 2, 3, 4, 5, 6, 7, 8].map(|at| record_at(boot, at));
    let (xattrs, chunks) = (text + 128 + 8, text + 128 + 8 + 8 + 16);
    let blobs = u64_at(boot, 48);
    let rows: Vec<(&str, usize, Vec<u8>)> = vec![
        ("version is another than 5", 4, vec![0, 6]),
        ("superblock has another length", 8, vec![1]),
        ("chunk size", 12, vec![0, 0x30]),
        ("compressed in another way", 16, vec![0x81]),
        ("compressed in another way", 16, vec![0x48]),
        ("table of inodes", 32, vec![0xff; 8]),
        ("more entries than inodes have room", 56, vec![0xff; 4]),
        ("prefetch table", 40, vec![0xff; 8]),
        ("table of blobs", 48, vec![0xff; 8]),
        ("table of blobs", 68, vec![0xff; 4]),
        ("its length is wrong", 68, vec![1]),
        ("a name is no digest", blobs + 8, vec![b'g']),
        ("it has a blob twice", blobs + 8 + 64 + 1 + 8, boot[blobs + 8..][..64].to_vec()),
        ("too many chunks", u64_at(boot, 72) + 3, vec![0xff]),
        ("a chunk is of no blob", u64_at(boot, 72), vec![1]),
        ("it lies in another", 8192 + 4 * 6, ((text as u32 / 8) + 1).to_le_bytes().to_vec()),
        ("another digest than it says", text, vec![boot[text] ^ 1]),
        ("another digest than it says", root, vec![boot[root] ^ 1]),
        ("another digest than it says", null, vec![boot[null] ^ 1]),
        ("a child of another", x + 32, vec![2]),
        ("the number of another", x + 40, vec![8]),
        ("the number of another", directory + 40, vec![1]),
        ("the number of another", second + 48, vec![9]),
        ("the number of another", link + 128 + 8 + 8 + 16, vec![0]),
        ("does not have an inode", x + 40, vec![0]),
        ("does not have an inode", x + 40, vec![9]),
        ("number is too large", x + 40, vec![7, 0, 0, 0, 1]),
        ("a type that images do not have", x + 61, vec![0xc1]),
        ("more or fewer chunks", x + 64, vec![0]),
        ("more or fewer chunks", x + 80, vec![8]),
        ("it has no names", x + 88, vec![0]),
        ("symbolic links alone", first + 102, vec![0]),
        ("too many nanoseconds", x + 108, vec![0xff; 4]),
        ("its children are before it", directory + 92, vec![1]),
        ("its children are before it", directory + 92, vec![0]),
        ("does not have an inode", directory + 92, vec![9]),
        ("a child of another", root + 96, vec![0xff; 4]),
        ("a name that no file can have", x + 128, vec![b'/']),
        ("do not ascend", x + 128, vec![b'a']),
        ("do not ascend", directory + 128, vec![b'.']),
        ("longer than those of any file", xattrs, vec![0xff; 8]),
        ("longer than those of any file", xattrs, vec![1, 0, 0x10]),
        ("extended attributes", xattrs + 8, vec![0xff]),
        ("a name does not end", xattrs + 12 + 6, vec![b'x']),
        ("a chunk is of no blob", chunks + 32, vec![7]),
        ("a chunk is of no blob", chunks + 72, vec![7]),
        ("in a way that is not known", chunks + 36, vec![0]),
        ("in a way that is not known", chunks + 36, vec![3]),
        ("another place or length", chunks + 44, vec![1]),
        ("another place or length", chunks + 64, vec![1]),
        ("impossible place", chunks + 54, vec![1]),
        ("an offset is too large", chunks + 63, vec![1]),
    ];
    assert_eq!(walk(boot.to_vec(), Limits::default()).unwrap(), 8);
    for (expected, at, bytes) in rows {
        let mut boot = boot.to_vec();
        boot[at..at + bytes.len()].copy_from_slice(&bytes);
        // Both names of the file, whose second record is the last of all, say the same.
        if at >= text {
            boot[at - text + link..][..bytes.len()].copy_from_slice(&bytes);
        }
        let error = walk(boot, Limits::default()).map_err(|fault| fault.to_string()).unwrap_err();
        assert!(error.contains(expected), "{error:?} instead of {expected:?} at {at}");
    }
}

#[test]
fn limits_hold() {
    let built = sample();
    let limited = |entries| walk(built.boot().to_vec(), Limits { entries, ..Limits::default() });
    assert!(limited(6).unwrap_err().to_string().contains("limit of 6"));
    assert!(limited(7).is_ok());
    let error = walk(built.boot().to_vec(), Limits { path_bytes: 5, ..Limits::default() }).unwrap_err();
    assert!(error.to_string().contains("longer than the limit"), "{error}");
}

fn merge_of(blob: Vec<u8>) -> Result<Merged, DriverError> {
    let digest = Digest::of(&blob);
    let part = Part { source: digest, digest, size: blob.len() as u64 };
    let driver = Nydus::new(v5(&small_chunks()), Limits::default());
    driver.merge().unwrap().merge(&[part], &mut Store(&HashMap::from([(digest, blob)])), &mut Kept::default())
}

fn bootstrap_of(built: &Built, layer: usize) -> Vec<u8> {
    let blob = &built.blobs[&built.layers[layer].digest];
    let (_, bytes) = crate::blob::header(blob, blob.len() - 512);
    blob[blob.len() - 512 - bytes..][..bytes - 32].to_vec()
}

#[test]
fn a_merge_believes_no_bootstrap_either() {
    let built = sample();
    let boot = bootstrap_of(&built, 0);
    assert!(merge_of(v5_blob_with(&boot)).is_ok());
    // 1 /, 2 d, 3 null, 4 s, 5 t, 6 d/text
    let (directory, text) = (record_at(&boot, 2), record_at(&boot, 6));
    let chunk = text + 128 + 8 + 8 + 16;
    let rows: [(&str, &[(usize, u8)]); 6] = [
        ("its children are before it", &[(directory + 92, 2)]),
        ("a child of another", &[(text + 32, 1)]),
        ("different things are said of a chunk", &[(chunk + 72, 4)]),
        ("not all chunks of the layer", &[(u64_at(&boot, 72), 9), (chunk + 72, 8)]),
        ("does not begin at a block", &[(chunk + 56, 1)]),
        ("section of links", &[(4096 + 16, 9)]),
    ];
    for (expected, edits) in rows {
        let mut boot = boot.clone();
        edits.iter().for_each(|(at, byte)| boot[*at] = *byte);
        let failed = merge_of(v5_blob_with(&boot)).map(|_| ()).unwrap_err();
        assert!(
            matches!(&failed, DriverError::Damaged { reason, .. } if reason.contains(expected)),
            "{failed} instead of {expected}"
        );
    }
}

#[test]
fn blobs_that_do_not_end_with_a_bootstrap_are_refused() {
    let built = sample();
    let boot = bootstrap_of(&built, 0);
    let header = |size: u64| {
        let mut header = tar(&[file("image.boot", b"").size_field(size)]);
        header.truncate(512);
        header
    };
    let other = build(&[&[file("f", b"1")]], &small_chunks());
    let rows = [
        (Vec::new(), "not the header of a bootstrap"),
        (vec![0; 5000], "not the header of a bootstrap"),
        (other.blobs[&other.layers[0].digest].clone(), "not the header of a bootstrap"),
        ([boot.clone(), header(boot.len() as u64 + 1)].concat(), "an impossible length"),
        ([boot.clone(), header(31)].concat(), "an impossible length"),
        ([boot.clone(), header(boot.len() as u64)].concat(), "not what its digest says"),
        (v5_blob_with(other.boot()), "other options"),
    ];
    for (blob, expected) in rows {
        let failed = merge_of(blob).map(|_| ()).unwrap_err();
        assert!(
            matches!(&failed, DriverError::Damaged { reason, .. } if reason.contains(expected)),
            "{failed} instead of {expected}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A digest covers the bootstrap, so that what was damaged is either not read or found out.
    #[test]
    fn a_damaged_blob_never_gives_another_image(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let built = sample();
        let driver = Nydus::new(v5(&small_chunks()), Limits::default());
        let parts: Vec<Part> = built.layers.iter().map(part).collect();
        let mut blobs = Flipped::new(&built.blobs, at.index(20_000), 1 << bit);
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
            // Most of the superblock is reserved.
            let at = at.index(boot.len() - 8100);
            let at = if at < 92 { at } else { at + 8100 };
            boot[at] = byte;
        }
        drop(walk(boot, Limits { entries: 1000, ..Limits::default() }));
    }
}
