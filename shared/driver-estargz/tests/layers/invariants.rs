//! What holds of every layer: the suite of all drivers, headers verbatim, chunk sizes.

use accel_domain::{ByteSize, EstargzOptions};
use accel_driver::conformance;
use accel_driver_estargz::{NO_PREFETCH_LANDMARK, TOC_NAME};
use accel_test_support::tar::{Format, dir, entry_blocks, fifo, file, nasty_entries};
use accel_test_support::{Entry, compress, nasty_tar, tar};

use crate::blob::{Made, chunked, convert, estargz, kind, name, prefetching, raw_headers};

/// The nasty layer without repeated paths: such a layer streams.
fn unrepeated() -> Vec<Entry> {
    let repeats = |entry: &Entry| {
        let blocks = entry_blocks(Format::Pax, entry);
        ["dup", "was-file"].iter().any(|name| blocks.starts_with(name.as_bytes()))
    };
    nasty_entries().into_iter().filter(|entry| !repeats(entry)).collect()
}

#[test]
fn odd_layers_pass_the_suite_of_all_drivers() {
    let options = [
        EstargzOptions::default(),
        EstargzOptions { level: 1, chunk_size: ByteSize(65_536), ..EstargzOptions::default() },
        EstargzOptions { min_chunk_size: ByteSize(8192), ..EstargzOptions::default() },
        prefetching(&["/bin/*", "/linked-3", "/large"]),
    ];
    let layers = [tar(&unrepeated()), compress::gzip(&nasty_tar())];
    for options in options {
        for layer in &layers {
            conformance::check(&estargz(options.clone()), layer);
        }
    }
    conformance::check(&estargz(EstargzOptions::default()), &compress::zstd(&tar(&[])));
}

#[test]
fn every_option_gives_a_readable_layer() {
    let options = [
        EstargzOptions::default(),
        chunked(65_536),
        EstargzOptions { min_chunk_size: ByteSize(65_536), ..EstargzOptions::default() },
        prefetching(&["/home/**", "/dev/null"]),
    ];
    for options in options {
        for source in [tar(&unrepeated()), nasty_tar()] {
            let made = convert(&source, &options);
            assert!(made.downloads <= 3);
        }
    }
}

#[test]
fn a_plain_layer_is_read_once_and_its_headers_stay_as_they_are() {
    let source = tar(&unrepeated());
    let made = convert(&source, &EstargzOptions::default());
    assert_eq!((made.downloads, made.restarts), (1, 0));
    let (before, mut after) = (raw_headers(&source), raw_headers(&made.tar));
    assert!(after.pop().unwrap().starts_with(TOC_NAME.as_bytes()));
    assert!(after.remove(0).starts_with(NO_PREFETCH_LANDMARK.as_bytes()));
    assert!(before == after);
}

#[test]
fn chunks_end_where_the_chunk_size_says() {
    const SIZE: usize = 4096;
    let rows: [(usize, &[u64]); 7] = [
        (0, &[]),
        (1, &[0]),
        (SIZE - 1, &[0]),
        (SIZE, &[4096]),
        (SIZE + 1, &[4096, 0]),
        (2 * SIZE, &[4096, 4096]),
        (3 * SIZE - 1, &[4096, 4096, 0]),
    ];
    for (bytes, expected) in rows {
        let content: Vec<u8> = (0..bytes).map(|at| (at / 16) as u8).collect();
        let made = convert(&tar(&[file("f", &content), file("g", b"next")]), &chunked(SIZE as u64));
        let sizes: Vec<u64> = made
            .entries
            .iter()
            .filter(|entry| name(entry) == "f" && entry.get("offset").is_some())
            .map(|entry| entry.get("chunkSize").map_or(0, |size| size.as_u64().unwrap()))
            .collect();
        assert_eq!(sizes, expected, "{bytes} bytes");
    }
}

#[test]
fn a_file_of_many_units_is_whole() {
    let content: Vec<u8> = (0..9 << 20).map(|at: u32| (at >> 10) as u8).collect();
    let made = convert(&tar(&[file("f", &content), fifo("p")]), &EstargzOptions::default());
    let chunks = made.entries.iter().filter(|entry| kind(entry) == "chunk").count();
    assert_eq!(chunks, 2);
}

#[test]
fn small_files_share_members_only_where_that_is_asked_for() {
    let entries: Vec<Entry> = (0..100).map(|at| file(format!("{at}"), [b'x'; 700])).collect();
    let members = |made: &Made| {
        let offsets = made.entries.iter().filter_map(|entry| entry["offset"].as_u64());
        offsets.collect::<std::collections::BTreeSet<_>>().len()
    };
    let own = convert(&tar(&entries), &EstargzOptions::default());
    let options = EstargzOptions { min_chunk_size: ByteSize(16_384), ..EstargzOptions::default() };
    let shared = convert(&tar(&entries), &options);
    assert_eq!(members(&own), 101, "each file and the landmark");
    // 1536 bytes a file with header and padding: 11 of them pass 16 KiB.
    assert_eq!(members(&shared), 1 + 100_usize.div_ceil(11));
    assert!(shared.blob.len() < own.blob.len());
    let landmark = shared.entry(NO_PREFETCH_LANDMARK)["offset"].as_u64();
    assert_eq!(shared.entries.iter().filter(|entry| entry["offset"].as_u64() == landmark).count(), 1);
}

#[test]
fn runs_of_headers_longer_than_a_unit_are_cut() {
    let large = |at: usize| dir(format!("d{at}/")).xattr("user.large", vec![at as u8; 1 << 20 >> 1]);
    let entries: Vec<Entry> = (0..10).map(large).chain([file("f", b"x")]).collect();
    let made = convert(&tar(&entries), &EstargzOptions::default());
    assert_eq!(made.entries.len(), 12);
}
