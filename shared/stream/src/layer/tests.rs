//! Whole blobs, cut blobs, damaged blobs and bombs, through `LayerReader` as its callers use it.

use std::io::Write;

use flate2::write::GzEncoder;
use proptest::prelude::*;
use zstd::stream::raw::CParameter;

use super::*;

/// Text that compresses to about half, the same each time.
fn sample(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (state >> 24) as u8 % 16
    };
    (0..bytes).map(|_| next()).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A member with every optional field in its header.
fn gzip_with_all_fields(data: &[u8]) -> Vec<u8> {
    let plain = gzip(data);
    let mut header = vec![0x1f, 0x8b, 8, 0b0001_1111, 1, 2, 3, 4, 2, 255];
    header.extend_from_slice(&[5, 0, b'S', b'G', 1, 0, b'!']);
    header.extend_from_slice(b"name\0comment\0");
    let crc = crc32fast::hash(&header) as u16;
    header.extend_from_slice(&crc.to_le_bytes());
    [&header, &plain[10..]].concat()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd_with(data, &[CParameter::ChecksumFlag(true)])
}

fn zstd_with(data: &[u8], parameters: &[CParameter]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    for parameter in parameters {
        encoder.set_parameter(*parameter).unwrap();
    }
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn skippable(payload: &[u8]) -> Vec<u8> {
    [&[0x5a, 0x2a, 0x4d, 0x18][..], &(payload.len() as u32).to_le_bytes(), payload].concat()
}

/// A source that gives at most `step` bytes at a time, and is interrupted now and then.
#[derive(Clone)]
struct Slow<'a> {
    rest: &'a [u8],
    step: usize,
    interrupted: bool,
}

impl<'a> Slow<'a> {
    fn new(rest: &'a [u8], step: usize) -> Self {
        Self { rest, step, interrupted: false }
    }
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.step.min(self.rest.len()).min(out.len());
        out[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}

/// Reads `blob` whole in reads of `step` bytes; with points and without it has to be the same.
fn unpack(blob: impl Read + Clone, limits: Limits, step: usize) -> Result<(Vec<u8>, LayerSums), StreamError> {
    let unpacked = read_all(LayerReader::new(blob.clone(), limits), step);
    let with_points = read_all(LayerReader::with_points(blob, limits), step);
    match (&unpacked, &with_points) {
        (Ok(one), Ok(other)) => assert!(one == other, "points change what is read"),
        (Err(one), Err(other)) => assert_eq!(one.class(), other.class(), "{one}; {other}"),
        (one, other) => {
            panic!("points change whether it is read: {:?}; {:?}", one.as_ref().err(), other.as_ref().err())
        }
    }
    unpacked
}

fn read_all<R: Read>(mut layer: LayerReader<R>, step: usize) -> Result<(Vec<u8>, LayerSums), StreamError> {
    let mut tar = Vec::new();
    let mut buffer = vec![0; step];
    loop {
        match layer.read_bytes(&mut buffer)? {
            0 => return Ok((tar, layer.finish()?)),
            count => tar.extend_from_slice(&buffer[..count]),
        }
    }
}

fn failure(blob: &[u8], limits: Limits) -> StreamError {
    unpack(blob, limits, 1 << 20).expect_err("this blob has to fail")
}

/// Every way to write `data` down that a reader has to understand.
fn spellings(data: &[u8]) -> Vec<(&'static str, Vec<u8>, Compression)> {
    let (first, second) = data.split_at(data.len() / 3);
    let g = |parts: &[&[u8]]| parts.concat();
    vec![
        ("plain", data.to_vec(), Compression::Plain),
        ("gzip", gzip(data), Compression::Gzip),
        ("gzip, all header fields", gzip_with_all_fields(data), Compression::Gzip),
        ("gzip, two members", g(&[&gzip(first), &gzip(second)]), Compression::Gzip),
        ("gzip, empty members", g(&[&gzip(b""), &gzip(data), &gzip(b""), &gzip(b"")]), Compression::Gzip),
        ("gzip, zeros after it", g(&[&gzip(data), &[0; 1000]]), Compression::Gzip),
        ("zstd", zstd(data), Compression::Zstd),
        ("zstd, no checksum", zstd_with(data, &[]), Compression::Zstd),
        ("zstd, two frames", g(&[&zstd(first), &zstd(second)]), Compression::Zstd),
        ("zstd, empty frames", g(&[&zstd(b""), &zstd(data), &zstd(b"")]), Compression::Zstd),
        (
            "zstd, skippable frames",
            g(&[&skippable(b"x"), &zstd(first), &skippable(&[7; 5000]), &zstd(second), &skippable(b"")]),
            Compression::Zstd,
        ),
    ]
}

#[test]
fn reads_every_spelling_and_sums_both_sides() {
    let data = sample(700_000);
    for (name, blob, compression) in spellings(&data) {
        for step in [1000, DIRECT_BYTES - 1, DIRECT_BYTES, 4 << 20] {
            let (tar, sums) = unpack(&blob[..], Limits::default(), step).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(tar == data, "{name}, reads of {step}");
            let expected = LayerSums {
                source_digest: Digest::of(&blob),
                source_bytes: blob.len() as u64,
                diff_id: Digest::of(&data),
                uncompressed_bytes: data.len() as u64,
                compression,
            };
            assert_eq!(sums, expected, "{name}, reads of {step}");
        }
    }
}

#[test]
fn finish_drains_what_was_not_read() {
    let data = sample(700_000);
    for (name, blob, _) in spellings(&data) {
        let (_, whole) = unpack(&blob[..], Limits::default(), 1 << 20).unwrap();
        for read in [0, 1, 100_000, 699_999] {
            let mut layer = LayerReader::new(&blob[..], Limits::default());
            layer.read_exact(&mut vec![0; read]).unwrap();
            assert_eq!(layer.finish().unwrap(), whole, "{name} after {read}");
        }
    }
}

#[test]
fn takes_an_empty_source_for_an_empty_plain_layer() {
    let (tar, sums) = unpack(io::empty(), Limits::default(), 10).unwrap();
    assert!(tar.is_empty());
    assert_eq!((sums.diff_id, sums.compression), (Digest::of(b""), Compression::Plain));
}

#[test]
fn a_blob_cut_anywhere_is_an_error_or_ends_at_a_boundary() {
    let data = sample(600);
    for (name, blob, compression) in spellings(&data) {
        if compression == Compression::Plain {
            continue;
        }
        for cut in 1..blob.len() {
            match unpack(&blob[..cut], Limits::default(), 1 << 20) {
                Err(StreamError::Truncated { compression: named, offset }) => {
                    assert_eq!(named, compression, "{name} cut at {cut}");
                    assert!(offset <= cut as u64, "{name} cut at {cut}: {offset}");
                }
                Err(other) => panic!("{name} cut at {cut}: {other:?}"),
                // Between two members or frames, or in the zeros behind them, a blob may end.
                Ok((tar, _)) => assert!(data.starts_with(&tar) && is_boundary(&blob, cut), "{name} cut at {cut}"),
            }
        }
    }
}

/// Whether another member, frame or padding begins at `cut`.
fn is_boundary(blob: &[u8], cut: usize) -> bool {
    let rest = &blob[cut..];
    sniff(rest) != Compression::Plain || rest.iter().all(|byte| *byte == 0)
}

#[test]
fn a_damaged_blob_never_yields_other_bytes() {
    let data = sample(600);
    for (name, blob, compression) in spellings(&data) {
        let magic = match compression {
            Compression::Gzip => 3,
            Compression::Zstd => 4,
            Compression::Plain => continue,
        };
        if name == "zstd, no checksum" {
            continue;
        }
        for place in magic..blob.len() {
            for bit in [1, 0x10, 0x80] {
                let mut damaged = blob.clone();
                damaged[place] ^= bit;
                if let Ok((tar, _)) = unpack(&damaged[..], Limits::default(), 1 << 20) {
                    assert!(tar == data, "{name}, byte {place}, bit {bit:#x}");
                }
            }
        }
    }
}

#[test]
fn names_the_sum_that_is_wrong() {
    let good = gzip(&sample(600));
    let end = good.len();
    for (place, expected) in [(end - 8, "crc-32"), (end - 4, "length")] {
        let mut blob = good.clone();
        blob[place] ^= 1;
        let error = failure(&blob, Limits::default());
        let StreamError::Checksum { sum, offset } = error else { panic!("{error:?}") };
        assert_eq!((sum, offset), (expected, end as u64));
    }
    let mut blob = gzip_with_all_fields(b"x");
    blob[5] ^= 1;
    assert!(matches!(failure(&blob, Limits::default()), StreamError::Checksum { sum: "header crc", .. }));
}

#[test]
fn names_what_follows_the_compressed_data() {
    let (gz, zst) = (gzip(b"tar"), zstd(b"tar"));
    let rows: [(&[u8], &[u8], u64); 7] = [
        (&gz, b"x", 0),
        (&gz, b"\x1f\x8c", 0),
        (&gz, b"\0\0\0x", 3),
        (&gz, b"\0\x1f\x8b\x08", 1),
        (&zst, b"x", 0),
        (&zst, b"\0\0\0\0\0\0", 0),
        (&zst, b"\x60\x2a\x4d\x18\0\0\0\0", 0),
    ];
    for (blob, tail, at) in rows {
        let error = failure(&[blob, tail].concat(), Limits::default());
        let StreamError::TrailingGarbage { offset, .. } = error else { panic!("{error:?} for {tail:x?}") };
        assert_eq!(offset, blob.len() as u64 + at, "{tail:x?}");
    }
}

#[test]
fn refuses_bombs_by_ratio_and_by_size() {
    let zeros = vec![0; 40 << 20];
    for blob in [gzip(&zeros), zstd(&zeros)] {
        let limits = Limits { ratio: 500, ..Limits::default() };
        let error = failure(&blob, limits);
        let StreamError::RatioTooHigh { uncompressed, limit, .. } = error else { panic!("{error:?}") };
        assert_eq!(limit, 500);
        assert!(uncompressed <= Limits::RATIO_FREE_BYTES + STEP_BYTES as u64, "{uncompressed}");

        let limits = Limits { layer_bytes: 1 << 20, ..Limits::default() };
        assert!(matches!(failure(&blob, limits), StreamError::LayerTooLarge { limit: 1_048_576 }));
    }
    let small = vec![0; 8 << 20];
    let limits = Limits { ratio: 1, layer_bytes: small.len() as u64, ..Limits::default() };
    assert!(
        unpack(&gzip(&small)[..], limits, 1 << 20).is_ok(),
        "below 16 MiB no ratio counts, the limit itself is free"
    );
    let limits = Limits { layer_bytes: 9, ..Limits::default() };
    assert!(matches!(failure(b"plain tar.", limits), StreamError::LayerTooLarge { limit: 9 }));
}

#[test]
fn bounds_the_zstd_window() {
    let blob = zstd_with(&sample(1000), &[CParameter::WindowLog(25)]);
    let limits = |bytes| Limits { zstd_window_bytes: bytes, ..Limits::default() };
    assert!(unpack(&blob[..], limits(32 << 20), 1000).is_ok());
    let error = failure(&blob, limits((32 << 20) - 1));
    let StreamError::WindowTooLarge { offset: 0, window_bytes, .. } = error else { panic!("{error:?}") };
    assert_eq!(window_bytes, 32 << 20);

    let first = zstd(b"small");
    let error = failure(&[&first[..], &blob].concat(), limits(8 << 20));
    let StreamError::WindowTooLarge { offset, .. } = error else { panic!("{error:?}") };
    assert_eq!(offset, first.len() as u64);
    // A single segment of 2^40 bytes.
    let huge = b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0";
    assert!(matches!(failure(huge, Limits::default()), StreamError::WindowTooLarge { .. }));
}

#[test]
fn refuses_a_frame_that_needs_a_dictionary() {
    let blob = b"\x28\xb5\x2f\xfd\x01\0\x09\x01\0\0";
    assert!(matches!(failure(blob, Limits::default()), StreamError::Dictionary { offset: 0 }));
}

#[test]
fn stays_failed_and_keeps_the_error_typed() {
    let blob = gzip(&sample(600));
    let mut layer = LayerReader::new(&blob[..blob.len() - 1], Limits::default());
    let error = io::copy(&mut layer, &mut io::sink()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(StreamError::from_io(error), StreamError::Truncated { .. }));
    assert!(matches!(layer.read_bytes(&mut [0]), Err(StreamError::AfterFailure)));
    assert!(matches!(layer.finish(), Err(StreamError::AfterFailure)));
}

#[test]
fn hands_errors_of_the_source_on() {
    let (sender, body) = crate::bridge::channel(4);
    let blob = gzip(&sample(600));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(sender.send(bytes::Bytes::from(blob[..100].to_vec()))).unwrap();
    drop(sender);
    assert!(matches!(read_all(LayerReader::new(body, Limits::default()), 1000), Err(StreamError::Cut)));
}

#[test]
fn readers_may_move_to_a_blocking_thread() {
    fn moves<T: Send + 'static>(value: T) -> T {
        std::thread::spawn(move || value).join().unwrap()
    }
    let (sender, body) = crate::bridge::channel(1);
    sender.finish();
    let mut tar = moves(crate::TarReader::new(LayerReader::new(body, Limits::default()), Limits::default()));
    assert!(tar.next_entry().unwrap().is_none());
    assert_eq!(tar.into_inner().finish().unwrap().source_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn splitting_reads_changes_nothing(
        data in prop::collection::vec(any::<u8>(), 0..3000),
        source_step in 1_usize..200,
        read_step in 1_usize..200,
    ) {
        for (name, blob, _) in spellings(&data) {
            if sniff(&blob) == Compression::Plain && name != "plain" {
                continue;
            }
            let whole = unpack(&blob[..], Limits::default(), 1 << 20);
            let split = unpack(Slow::new(&blob, source_step), Limits::default(), read_step);
            match (whole, split) {
                (Ok(whole), Ok(split)) => prop_assert!(whole == split, "{}", name),
                (Err(whole), Err(split)) => prop_assert_eq!(whole.to_string(), split.to_string()),
                (whole, split) => prop_assert!(false, "{}: {:?} {:?}", name, whole.is_ok(), split.is_ok()),
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        start in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x1f\x8b\x08\0\0\0\0\0\0\0", b"\x28\xb5\x2f\xfd"]),
        tail in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let blob = [start, &tail].concat();
        if let Ok((tar, sums)) = unpack(&blob[..], Limits::default(), 100) {
            prop_assert_eq!(sums.diff_id, Digest::of(&tar));
            prop_assert_eq!(sums.source_digest, Digest::of(&blob));
        }
    }
}
