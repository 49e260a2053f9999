//! Random layers through writer and reader: the same entries come out, repeated paths by their last.

use std::collections::BTreeMap;

use accel_domain::{ByteSize, EstargzOptions};
use accel_driver::DriverError;
use accel_image::Digest;
use accel_stream::{Entry as TarEntry, EntryKind, Limits, TarReader};
use accel_test_support::tar::{char_device, dir, fifo, file, hardlink, symlink, tar_as};
use accel_test_support::{Entry, Format};
use proptest::prelude::*;

use crate::blob::{cleaned, try_convert};
use crate::reader::check;

/// Few names, so that paths repeat and links find targets.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "ü<&>", "n\n", ".wh.a", "."]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = Entry> {
    let content = (0_usize..20_000, any::<u8>())
        .prop_map(|(bytes, seed)| -> Vec<u8> { (0..bytes).map(|at| (at as u8).wrapping_mul(seed) >> 3).collect() });
    let kind = (0..48_u8, name(), name(), content).prop_map(|(kind, name, other, content)| match kind {
        0..8 => dir(format!("{name}/")),
        8..12 => symlink(name, other),
        12 => hardlink(name, other),
        13..15 => char_device(name, 5, 1),
        15..17 => fifo(name),
        17..20 => file(name, b""),
        _ => file(name, content),
    });
    let times = (prop::sample::select(vec![0, 1, -1, 1_700_000_000]), prop::sample::select(vec![0, 5, 500_000_000]));
    (kind, 0..0o10000_u32, 0..5_u64, times, any::<bool>()).prop_map(|(entry, mode, id, (mtime, nanos), named)| {
        let entry = entry.mode(mode).uid(id).gid(id % 2).mtime(mtime).nanos(nanos);
        if named { entry.owner("alice", "users").xattr("user.x", [mode as u8]) } else { entry }
    })
}

fn options() -> impl Strategy<Value = EstargzOptions> {
    let patterns =
        vec![vec![], vec!["/a/**".to_owned()], vec!["/b".to_owned(), "/c/*".to_owned()], vec!["/**".to_owned()]];
    (
        prop::sample::select(vec![4096, 5000, 4 << 20]),
        prop::sample::select(vec![0, 4096]),
        prop::sample::select(patterns),
    )
        .prop_map(|(chunk, min, prefetch)| EstargzOptions {
            chunk_size: ByteSize(chunk),
            min_chunk_size: ByteSize(min),
            prefetch,
            level: 1,
        })
}

type Files = BTreeMap<String, (TarEntry, Option<Digest>)>;

/// Where an entry lies in its tar is not part of it.
fn placeless(entry: &TarEntry) -> TarEntry {
    TarEntry { header_offset: 0, ..entry.clone() }
}

fn files(tar: &[u8]) -> Files {
    let mut walker = TarReader::new(tar, Limits::default());
    let mut files = Files::new();
    while let Some(entry) = walker.next_entry().unwrap() {
        let entry = placeless(entry);
        let mut content = vec![0; entry.size as usize];
        walker.read_payload(&mut content).unwrap();
        let digest = (entry.kind == EntryKind::Regular).then(|| Digest::of(&content));
        files.insert(cleaned(std::str::from_utf8(&entry.path).unwrap()), (entry, digest));
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_same_entries_come_out(entries in prop::collection::vec(entry(), 0..40), options in options()) {
        let source = tar_as(Format::Pax, &entries);
        let made = match try_convert(&source, &options) {
            Ok(made) => made,
            // A hard link without a target, or to a file that is replaced.
            Err(DriverError::Unrepresentable { .. }) => return Ok(()),
            Err(other) => panic!("{other:?}"),
        };
        let (_, found) = check(&made.blob).unwrap();
        let count = found.len();
        let found: Files = found
            .iter()
            .map(|(entry, digest)| (cleaned(std::str::from_utf8(&entry.path).unwrap()), (placeless(entry), *digest)))
            .collect();
        prop_assert_eq!(found.len(), count, "no path comes out twice");
        prop_assert!(found == files(&source));
    }
}
