//! What holds of every layer: the suite of all drivers, and the same bytes whatever the machine.

use accel_domain::{NydusCompressor, NydusOptions};
use accel_driver::conformance::{self, Kept};
use accel_driver::{Driver, DriverError, Pool};
use accel_driver_nydus::Nydus;
use accel_image::Digest;
use accel_stream::Limits;
use accel_test_support::tar::{dir, file, nasty_tar};
use accel_test_support::{Entry, compress, noise, tar, text};

use crate::built::{Store, batches, build, checked, options, part, small_chunks, v5};

#[test]
fn odd_layers_pass_the_suite_of_all_drivers() {
    let every = [
        NydusOptions::default(),
        small_chunks(),
        options(NydusCompressor::Lz4Block, 65_536),
        options(NydusCompressor::None, 4 << 20),
        v5(&small_chunks()),
        batches(NydusCompressor::Zstd, 1 << 20),
        batches(NydusCompressor::Lz4Block, 4096),
    ];
    for options in every {
        let driver = Nydus::new(options, Limits::default());
        conformance::check(&driver, &compress::gzip(&nasty_tar()));
        conformance::check(&driver, &tar(&[dir("d/"), file("f", b"")]));
    }
}

#[test]
fn every_option_gives_a_readable_image() {
    let layer = [file("text", text(1, 300_000)), file("noise", noise(100_000, 7)), file("zeros", vec![0; 200_000])];
    for compressor in [NydusCompressor::Zstd, NydusCompressor::Lz4Block, NydusCompressor::None] {
        for chunk_size in [4096, 1 << 20, 4 << 20] {
            checked(&[&layer, &[file("more", text(2, 5_000_000))]], &options(compressor, chunk_size));
        }
        checked(&[&layer, &[file("more", text(2, 5_000_000))]], &batches(compressor, 1 << 20));
    }
}

/// Files that repeat chunks of each other, near and far.
fn repeating() -> Vec<Entry> {
    let (text, zeros) = (text(3, 3 << 20), vec![0; 9 << 20]);
    (0..6)
        .flat_map(|at| {
            [
                file(format!("text-{at}"), &text[at * 65_536..]),
                file(format!("zeros-{at}"), &zeros),
                file(format!("small-{at}"), format!("{}", at % 2)),
            ]
        })
        .collect()
}

#[test]
fn threads_change_no_byte() {
    let layer = tar(&repeating());
    let every = [NydusOptions::default(), small_chunks(), v5(&small_chunks()), batches(NydusCompressor::Zstd, 1 << 18)];
    for options in every {
        let digests: Vec<Digest> = [1, 2, 8, 8, 8]
            .map(|threads| {
                let driver = Nydus::new(options.clone(), Limits::default());
                conformance::convert(&driver, &Pool::new(threads), &layer).unwrap().0.digest
            })
            .to_vec();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    }
}

#[test]
fn a_chunk_is_stored_once_in_a_layer() {
    let built = checked(&[&repeating()], &small_chunks());
    let inodes = built.inodes();
    let chunks = |path: &str| &inodes[path.as_bytes()].chunks;
    assert_eq!(chunks("zeros-0").len(), (9 << 20) / 4096);
    assert!(chunks("zeros-5").iter().all(|chunk| *chunk == chunks("zeros-0")[0]));
    assert_eq!(chunks("small-0"), chunks("small-4"));
    assert_eq!(chunks("text-0")[16..], chunks("text-1")[..]);
    let different: usize = (3 << 20) / 4096 + 1 + 2;
    assert_eq!(built.bootstrap().blobs()[0].chunk_count as usize, different);
}

#[test]
fn the_same_content_in_two_layers_is_in_both() {
    let built = checked(&[&[file("f", text(1, 9000))], &[file("g", text(1, 9000))]], &small_chunks());
    assert_eq!(built.bootstrap().blobs().len(), 2);
}

#[test]
fn nothing_of_the_machine_is_in_the_output() {
    let layers: [&[Entry]; 2] = [&repeating(), &[file("f", b"1").xattr("user.b", b"2").xattr("user.a", b"1")]];
    let (one, other) = (build(&layers, &small_chunks()), build(&layers, &small_chunks()));
    assert_eq!((one.merged, one.layers), (other.merged, other.layers));
}

#[test]
fn tiny_files_without_end_need_little_room() {
    let files: Vec<Entry> = (0..20_000).map(|at| file(format!("d{}/{at}", at % 7), at.to_string())).collect();
    checked(&[&files], &NydusOptions::default());
    checked(&[&files], &batches(NydusCompressor::Zstd, 1 << 20));
}

#[test]
fn an_output_that_breaks_ends_the_merge() {
    let built = build(&[&repeating()], &small_chunks());
    let driver = Nydus::new(small_chunks(), Limits::default());
    let parts: Vec<_> = built.layers.iter().map(part).collect();
    for taken in [0, 100, built.container.len() - 1] {
        let failed = driver.merge().unwrap().merge(&parts, &mut Store(&built.blobs), &mut Kept::failing_after(taken));
        assert!(matches!(failed, Err(DriverError::Output(_))), "{failed:?}");
    }
}
