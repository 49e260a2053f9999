//! Batches: what is where in a blob that has them, read with code of its own; and blobs that lie about them.

use std::collections::HashMap;

use accel_domain::{ByteSize, NydusCompressor, NydusOptions};
use accel_driver::conformance::Kept;
use accel_driver::{Driver, DriverError, Merged, Part};
use accel_driver_nydus::Nydus;
use accel_image::Digest;
use accel_stream::Limits;
use accel_test_support::nydus::{reseal, toc_entry};
use accel_test_support::tar::{dir, file, whiteout};
use accel_test_support::{Entry, noise, text};

use crate::blob::sections;
use crate::built::{Built, Store, batches, build, checked, part};

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn blob_of(built: &Built) -> &[u8] {
    &built.blobs[&built.layers[0].digest]
}

/// What `blob.meta` says of a chunk: offset, stored and uncompressed length; number of its batch and place in it.
type Said = (u64, u32, u32, Option<(u32, u32)>);

/// The chunks and the batches (stored and uncompressed length) of a blob, each held to its digest.
fn said(built: &Built) -> (Vec<Said>, Vec<(u32, u32)>) {
    let sections = sections(blob_of(built));
    let (meta, header) = (&sections["blob.meta"].content, &sections["blob.meta.header"].content);
    assert_eq!(u32_at(header, 4), 0x7000_00a7, "features");
    let chunks = u32_at(header, 12) as usize;
    let (offset, bytes, count) = (u64_at(header, 40), u64_at(header, 48), u64_at(header, 56));
    assert_eq!((offset as usize, bytes, meta.len() as u64), (24 * chunks, 40 * count, offset + bytes));
    let batches: Vec<(u32, u32)> = meta[offset as usize..]
        .chunks(40)
        .map(|batch| {
            assert_eq!(batch[8..], [0; 32]);
            (u32_at(batch, 0), u32_at(batch, 4))
        })
        .collect();
    let mut at = 0;
    let mut found = Vec::new();
    for (number, entry) in meta[..24 * chunks].chunks(24).enumerate() {
        let (uncompressed, compressed, data) = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
        assert_eq!((uncompressed & 0xffff_ffff) << 12, at, "where it begins on the device");
        let bytes = (uncompressed >> 32 & 0xff_ffff) as u32 + 1;
        at += u64::from(bytes).next_multiple_of(4096);
        let (offset, stored) = (compressed & 0xff_ffff_ffff, (compressed >> 40) as u32);
        let place = match uncompressed >> 56 {
            5 => Some(((data >> 32) as u32, data as u32)),
            flags => {
                assert_eq!((flags, data), (u64::from(stored < bytes), 0));
                None
            }
        };
        assert_eq!(place.is_some(), stored == 0);
        found.push((offset, stored, bytes, place));
        let content = content(built, found[number], &batches);
        assert_eq!(sections["blob.digest"].content[32 * number..][..32], *Digest::of(&content).as_bytes());
    }
    (found, batches)
}

fn content(built: &Built, (offset, stored, bytes, place): Said, batches: &[(u32, u32)]) -> Vec<u8> {
    let (stored, whole, begin) = match place {
        Some((batch, begin)) => (batches[batch as usize].0, batches[batch as usize].1, begin),
        None => (stored, bytes, 0),
    };
    let piece = &blob_of(built)[offset as usize..][..stored as usize];
    let whole = if stored == whole { piece.to_vec() } else { zstd::bulk::decompress(piece, whole as usize).unwrap() };
    whole[begin as usize..][..bytes as usize].to_vec()
}

fn layer() -> Vec<Entry> {
    vec![
        file("a", text(1, 1000)),
        file("b", text(2, 3000)),
        file("again", text(1, 1000)),
        file("empty", b""),
        file("half", text(3, 4096)),
        file("c", text(4, 4095)),
        file("d", text(5, 4000)),
        file("e", text(6, 97)),
        dir("dir/"),
        file("dir/f", noise(100, 3)),
    ]
}

fn options() -> NydusOptions {
    batches(NydusCompressor::Zstd, 8192)
}

#[test]
fn small_files_are_stored_together() {
    let built = checked(&[&layer()], &options());
    let (chunks, batches) = said(&built);
    // 4,096 bytes are half of a batch, and `f` would make the batch of `c` one of 8,192 or more.
    let places: Vec<_> = chunks.iter().map(|(_, _, bytes, place)| (*bytes, *place)).collect();
    let expected = [
        (1000, Some((0, 0))),
        (3000, Some((0, 1000))),
        (4096, None),
        (4095, Some((1, 0))),
        (4000, Some((1, 4095))),
        (97, Some((2, 0))),
        (100, Some((2, 97))),
    ];
    assert_eq!(places, expected);
    assert_eq!(batches.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [4000, 8095, 197]);
    assert!(chunks.iter().map(|(offset, ..)| *offset).is_sorted(), "nydusd searches them");
    let smaller = built.layers[0].size;
    assert!(smaller < build(&[&layer()], &batches_of(0)).layers[0].size, "{smaller}");
}

fn batches_of(bytes: u64) -> NydusOptions {
    NydusOptions { batch_size: ByteSize(bytes), ..options() }
}

#[test]
fn runtimes_get_the_same_from_the_last_layer() {
    for compressor in [NydusCompressor::Zstd, NydusCompressor::Lz4Block, NydusCompressor::None] {
        let built = checked(&[&layer()], &batches(compressor, 8192));
        let sections = sections(blob_of(&built));
        let mut expected = sections["blob.meta"].content.clone();
        expected.resize(expected.len().next_multiple_of(4096), 0);
        expected.extend(&sections["blob.meta.header"].content);
        assert_eq!(built.files[&format!("image/{}.blob.meta", built.layers[0].digest.hex())], expected);
        assert_eq!(u32_at(built.boot(), 4096 + 84), 0x7000_00a5, "features in the table of blobs");
    }
}

#[test]
fn a_layer_without_small_files_is_what_it_is_without_batches() {
    let large = [file("large", text(1, 9000)), file("huge", text(2, 3 << 20)), file("empty", b"")];
    let (with, without) = (build(&[&large], &options()), build(&[&large], &batches_of(0)));
    assert_eq!((with.layers, with.merged), (without.layers, without.merged));
}

#[test]
fn what_is_left_of_a_batch_stays_readable_when_layers_replace_the_rest() {
    let upper = [whiteout("a"), file("b", b"other"), file("new", text(7, 900)), whiteout("d")];
    let built = checked(&[&layer(), &upper], &options());
    let places: Vec<_> = ["again", "c", "dir/f", "b"]
        .map(|path| built.inodes()[path.as_bytes()].chunks[0])
        .iter()
        .map(|chunk| (chunk.blob, chunk.batch.map(|place| (place.offset(), place.is_compressed()))))
        .collect();
    let expected = [(0, Some((0, true))), (0, Some((0, true))), (0, Some((97, true))), (1, Some((0, true)))];
    assert_eq!(places, expected);
}

#[test]
fn a_batch_that_does_not_shrink_is_stored_as_it_is() {
    let built = checked(&[&[file("1", noise(900, 1)), file("2", noise(700, 2))]], &options());
    let (chunks, batches) = said(&built);
    assert_eq!((batches, chunks[1].3), (vec![(1600, 1600)], Some((0, 900))));
    let chunk = built.inodes()[b"2".as_slice()].chunks[0];
    assert_eq!(chunk.batch.map(|place| (place.offset(), place.is_compressed())), Some((900, false)));
}

#[test]
fn batches_end_with_their_unit() {
    let files: Vec<Entry> = (0..60).map(|at| file(format!("{at:02}"), text(at, 100_000))).collect();
    let built = checked(&[&files], &batches(NydusCompressor::Zstd, 1 << 20));
    let (_, batches) = said(&built);
    let bytes: Vec<u32> = batches.iter().map(|(_, bytes)| *bytes / 100_000).collect();
    // 41 files are a unit of 4 MiB.
    assert_eq!(bytes, [10, 10, 10, 10, 1, 10, 9]);
}

/// Where the bootstrap of the layer says something of chunk `number`.
fn entry(boot: &[u8], number: u32) -> usize {
    let (table, bytes) = (u64_at(boot, 1152 + 24) as usize, u64_at(boot, 1152 + 32) as usize);
    (table..table + bytes).step_by(80).find(|entry| u32_at(boot, entry + 72) == number).unwrap()
}

/// The blob with another bootstrap, which is stored as it is.
fn with_boot(blob: &[u8], boot: &[u8]) -> Vec<u8> {
    let place = toc_entry(blob, "image.boot").unwrap();
    let (begin, stored) = (u64_at(blob, place.start + 56) as usize, u64_at(blob, place.start + 64) as usize);
    let mut lying = [&blob[..begin], boot, &blob[begin + stored..]].concat();
    let entry = place.start + boot.len() - stored;
    lying[entry] = 1;
    for at in [64, 72] {
        lying[entry + at..][..8].copy_from_slice(&(boot.len() as u64).to_le_bytes());
    }
    reseal(&mut lying);
    lying
}

fn merge(blob: Vec<u8>) -> Result<Merged, DriverError> {
    let digest = Digest::of(&blob);
    let part = Part { source: digest, digest, size: blob.len() as u64 };
    let driver = Nydus::new(options(), Limits::default());
    driver.merge().unwrap().merge(&[part], &mut Store(&HashMap::from([(digest, blob)])), &mut Kept::default())
}

#[test]
fn what_is_wrong_about_batches_is_told() {
    let (follow, length, meta) = ("do not follow each other", "an impossible length", "are not about those");
    // What is said of chunk 0, 1, 3 or 4, at which byte, and what instead.
    let rows: [(&str, &[u32], usize, u32); 12] = [
        (follow, &[0], 36, 1),
        (follow, &[1], 76, 999),
        (follow, &[1], 76, 0),
        (follow, &[0], 76, 1),
        ("impossible place in a batch", &[1], 76, (1 << 24) - 1000),
        ("impossible place in a batch", &[1], 76, u32::MAX),
        (length, &[1], 40, 1),
        (length, &[0, 1], 36, 8),
        (length, &[0, 1], 40, 4000),
        (length, &[1], 48, 7),
        (meta, &[0, 1], 48, 7),
        ("does not say where a chunk is", &[2], 40, 0),
    ];
    let built = build(&[&layer()], &options());
    let blob = blob_of(&built);
    let boot = sections(blob)["image.boot"].content.clone();
    assert!(merge(with_boot(blob, &boot)).is_ok());
    for (expected, chunks, at, instead) in rows {
        let mut lying = boot.clone();
        for chunk in chunks {
            let entry = entry(&boot, *chunk);
            lying[entry + at..][..4].copy_from_slice(&instead.to_le_bytes());
        }
        let told = merge(with_boot(blob, &lying)).unwrap_err().to_string();
        assert!(told.contains(expected), "{told:?} instead of {expected:?}: byte {at} of {chunks:?}");
    }
    let table = u64_at(&boot, 1152 + 8) as usize;
    let mut silent = boot.clone();
    silent[table + 84] = 0x23;
    let told = merge(with_boot(blob, &silent)).unwrap_err().to_string();
    assert!(told.contains("impossible place in a batch"), "{told}");
}

#[test]
fn a_blob_with_features_that_it_does_not_have_is_damaged() {
    let built = build(&[&[file("large", text(1, 9000))]], &options());
    let boot = sections(blob_of(&built))["image.boot"].content.clone();
    let features = u64_at(&boot, 1152 + 8) as usize + 84;
    for (at, bits, what) in [(0, 0x84, "batches"), (1, 0x10, "a flag that nobody knows"), (2, 1, "another")] {
        let mut lying = boot.clone();
        lying[features + at] ^= bits;
        let told = merge(with_boot(blob_of(&built), &lying)).unwrap_err().to_string();
        assert!(told.contains("its features are not those"), "{what}: {told}");
    }
}

#[test]
fn layers_with_and_without_batches_go_together() {
    // A layer that was converted with batches is not merged without: its key is another. But all are read alike.
    let built = checked(&[&layer(), &[file("large", text(1, 9000))], &[dir("nothing/")]], &options());
    let parts: Vec<Part> = built.layers.iter().map(part).collect();
    let driver = Nydus::new(batches_of(0), Limits::default());
    let merged = driver.merge().unwrap().merge(&parts, &mut Store(&built.blobs), &mut Kept::default());
    assert_eq!(merged.unwrap(), built.merged);
}
