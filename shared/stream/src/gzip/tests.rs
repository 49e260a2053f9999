//! Points: what is inflated from them, where they are, and what they cost.

use std::io::{self, Write as _};

use accel_test_support::{noise, text};
use flate2::write::GzEncoder;
use flate2::{Compression, FlushCompress};
use proptest::prelude::*;

use super::points::APART_BYTES;
use crate::{InflatePoint, LayerReader, Limits, Passed, StreamError, inflate_from};

/// The most that a point lies behind the place that it is asked for, in blobs of this file: a block of zlib.
const BLOCK_BYTES: u64 = 4_300_000;

fn member(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A member with an empty block behind each `step` bytes.
fn flushed(data: &[u8], step: usize, flush: FlushCompress) -> Vec<u8> {
    let mut deflate = flate2::Compress::new(Compression::new(6), false);
    let mut raw = Vec::new();
    for piece in data.chunks(step) {
        raw.reserve(piece.len() + 1000);
        deflate.compress_vec(piece, &mut raw, flush).unwrap();
    }
    raw.reserve(1000);
    deflate.compress_vec(&[], &mut raw, FlushCompress::Finish).unwrap();
    let trailer = [crc32fast::hash(data).to_le_bytes(), (data.len() as u32).to_le_bytes()];
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &raw, &trailer.concat()].concat()
}

/// What compresses well and what does not, in pieces.
fn mixed(bytes: usize) -> Vec<u8> {
    let pieces = (0..).flat_map(|n| match n % 3 {
        0 => text(n, 150_000),
        1 => noise(90_000, n),
        _ => vec![n as u8; 300_000],
    });
    pieces.take(bytes).collect()
}

/// Every point that shows itself in reads of `step` bytes, and all that was passed.
fn points(blob: impl io::Read, step: usize) -> (Vec<InflatePoint>, Vec<Passed>, Vec<u8>) {
    let mut layer = LayerReader::with_points(blob, Limits::default());
    let (mut points, mut passed, mut tar) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = vec![0; step];
    loop {
        // One byte first, so that the first point shows itself.
        let room = if tar.is_empty() { 1 } else { step };
        let count = layer.read_bytes(&mut buffer[..room]).unwrap();
        tar.extend_from_slice(&buffer[..count]);
        passed.extend(layer.passed());
        let point = layer.point().unwrap().clone();
        assert!(point.output <= tar.len() as u64, "a point of what was not read yet");
        assert!(tar.len() as u64 - point.output <= BLOCK_BYTES, "an old point");
        if points.last() != Some(&point) {
            points.push(point);
        }
        if count == 0 {
            return (points, passed, tar);
        }
    }
}

fn blobs() -> Vec<(&'static str, Vec<u8>)> {
    let data = mixed(3_000_000);
    let (first, second) = data.split_at(1_234_567);
    vec![
        ("level 6", member(&data, 6)),
        ("level 1", member(&data, 1)),
        ("level 9", member(&data, 9)),
        ("stored", member(&data, 0)),
        ("members", [member(first, 6), member(b"", 6), member(second, 9)].concat()),
        ("many members", data.chunks(10_000).flat_map(|part| member(part, 6)).collect()),
        ("byte aligned", flushed(&data, 50_000, FlushCompress::Full)),
        ("small blocks", flushed(&data, 700, FlushCompress::Sync)),
        ("empty blocks", [flushed(&data, 40_000, FlushCompress::Partial), vec![0; 100]].concat()),
    ]
}

#[test]
fn inflates_from_every_point() {
    for (name, blob) in blobs() {
        let (points, _, tar) = points(&blob[..], 60_000);
        // At level 1 the encoder makes one block of it all.
        let least = if name == "level 1" { 1 } else { 15 };
        assert!(points.len() >= least, "{name}: {}", points.len());
        for point in points {
            let rest = &tar[point.output as usize..];
            for len in [rest.len(), rest.len().min(100_000), rest.len().min(1)] {
                let mut out = vec![0; len];
                inflate_from(&point, &blob[point.input as usize..], &mut out).unwrap();
                assert!(out == rest[..len], "{name}: {len} bytes from {point:?}");
            }
            let mut beyond = vec![0; rest.len() + 1];
            let error = inflate_from(&point, &blob[point.input as usize..], &mut beyond).unwrap_err();
            assert!(matches!(error, StreamError::Truncated { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn begins_at_the_first_block_of_all_and_ends_with_the_last() {
    for (name, blob) in blobs() {
        let (points, passed, tar) = points(&blob[..], 1 << 20);
        assert_eq!((points[0].input, points[0].output, points[0].bits), (10, 0, 0), "{name}");
        assert!(points[0].window.is_empty(), "{name}");
        let end = Passed {
            input: blob.len() as u64 - if name == "empty blocks" { 100 } else { 0 },
            output: tar.len() as u64,
        };
        assert_eq!(passed.last(), Some(&end), "{name}");
    }
}

#[test]
fn points_do_not_depend_on_reads() {
    for (name, blob) in blobs() {
        let (seen, all, _) = points(&blob[..], 1000);
        for (source_step, step) in [(usize::MAX, 1 << 20), (1, 1 << 18), (777, 10_000)] {
            let source = Trickle(&blob, source_step);
            let (fewer, passed, _) = points(source, step);
            assert!(passed == all, "{name}, reads of {step}");
            assert!(fewer.iter().all(|point| seen.contains(point)), "{name}, reads of {step}");
        }
    }
}

#[test]
fn small_blocks_make_few_points() {
    let floods = [
        flushed(&vec![7; 100_000], 1, FlushCompress::Sync),
        (0..20_000).flat_map(|_| member(b"", 6)).collect(),
        (0..20_000).flat_map(|n| member(&[n as u8], 6)).collect(),
    ];
    for blob in floods {
        let (_, passed, tar) = points(&blob[..], 1 << 20);
        let most = blob.len() as u64 / APART_BYTES + tar.len() as u64 / APART_BYTES + 2;
        assert!(passed.len() as u64 <= most, "{} of at most {most}", passed.len());
    }
}

#[test]
fn what_refers_to_before_its_member_is_refused() {
    let said = text(1, 20_000);
    let mut deflate = flate2::Compress::new(Compression::new(6), false);
    let mut raw = Vec::with_capacity(100_000);
    deflate.compress_vec(&said, &mut raw, FlushCompress::Sync).unwrap();
    let whole = raw.len();
    deflate.compress_vec(&said, &mut raw, FlushCompress::Finish).unwrap();
    let (once, again) = raw.split_at(whole);
    assert!(again.len() < 1000, "says where it was said");
    let sums = [crc32fast::hash(&said).to_le_bytes(), (said.len() as u32).to_le_bytes()].concat();
    let torn = [&member(b"", 6)[..10], again, &sums].concat();
    for blob in [torn.clone(), [member(&said, 6), torn].concat()] {
        let mut layer = LayerReader::with_points(&blob[..], Limits::default());
        let error = io::copy(&mut layer, &mut io::sink()).unwrap_err();
        assert!(matches!(StreamError::from_io(error), StreamError::Corrupt { .. }));
    }
    let (mut out, rest) = (vec![0; said.len()], [again, &sums].concat());
    let point =
        InflatePoint { input: once.len() as u64, bits: 0, byte: 0, output: 20_000, window: said.clone().into() };
    inflate_from(&point, &rest[..], &mut out).unwrap();
    assert!(out == said);
    let without = InflatePoint { window: said[9000..].into(), ..point };
    assert!(matches!(inflate_from(&without, &rest[..], &mut out), Err(StreamError::Corrupt { .. })));
}

#[test]
fn other_layers_have_no_points() {
    for blob in [&zstd::bulk::compress(b"tar", 3).unwrap()[..], b"tar", b""] {
        let mut layer = LayerReader::with_points(blob, Limits::default());
        io::copy(&mut layer, &mut io::sink()).unwrap();
        assert!(layer.point().is_none() && layer.passed().next().is_none());
    }
    let blob = member(b"tar", 6);
    let mut without = LayerReader::new(&blob[..], Limits::default());
    io::copy(&mut without, &mut io::sink()).unwrap();
    assert!(without.point().is_none());
}

/// A source that gives at most so many bytes at a time.
struct Trickle<'b>(&'b [u8], usize);

impl io::Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(out.len());
        self.0.read(&mut out[..count])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What lies between two places of the tar comes out of the blob from the point before the first to what was passed
    /// first after the second.
    #[test]
    fn any_piece_comes_out_of_its_part_of_the_blob(
        parts in prop::collection::vec((0_usize..400_000, 0_u32..10, any::<u64>(), any::<bool>()), 1..6),
        at in 0.0..1.0_f64,
        len in 1_usize..600_000,
    ) {
        let data: Vec<Vec<u8>> = parts.iter()
            .map(|(bytes, _, seed, is_text)| if *is_text { text(*seed, *bytes) } else { noise(*bytes, *seed) })
            .collect();
        let blob: Vec<u8> = data.iter().zip(&parts).flat_map(|(data, part)| member(data, part.1)).collect();
        let tar = data.concat();
        let from = (at * tar.len() as f64) as usize;
        let to = tar.len().min(from + len);

        let mut layer = LayerReader::with_points(&blob[..], Limits::default());
        let mut before = vec![0; from];
        io::Read::read_exact(&mut layer, &mut before).unwrap();
        let point = layer.point().cloned();
        let mut passed: Vec<_> = layer.passed().collect();
        io::copy(&mut layer, &mut io::sink()).unwrap();
        passed.extend(layer.passed());
        let Some(point) = point else {
            prop_assert_eq!(from, 0);
            return Ok(());
        };
        let end = passed.iter().find(|passed| passed.output > to as u64).or(passed.last()).unwrap().input as usize;
        let mut out = vec![0; to - point.output as usize];
        inflate_from(&point, &blob[point.input as usize..end], &mut out).unwrap();
        prop_assert!(out == tar[point.output as usize..to]);
    }

    #[test]
    fn no_bytes_make_resuming_panic(
        bits in 0_u8..=255,
        byte in any::<u8>(),
        window in prop::collection::vec(any::<u8>(), 0..100),
        input in prop::collection::vec(any::<u8>(), 0..2000),
        len in 0_usize..5000,
    ) {
        let point = InflatePoint { input: 0, bits, byte, output: 0, window: window.into() };
        let _ = inflate_from(&point, &input[..], &mut vec![0; len]).is_ok();
    }
}
