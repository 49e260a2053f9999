//! Reading: a tar walked, and a layer decompressed and hashed, over many small files and one large one.

use std::hint::black_box;
use std::io::Read as _;

use accel_stream::{LayerReader, Limits, TarReader};
use accel_test_support::compress::{gzip, zstd};
use accel_test_support::tar::file;
use accel_test_support::{tar, text};
use criterion::{Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let small: Vec<_> = (0..4000).map(|n| file(format!("usr/share/{n}"), text(n, 2000))).collect();
    let (small, large) = (tar(&small), tar(&[file("usr/bin/large", text(1, 16 << 20))]));

    let mut group = criterion.benchmark_group("tar");
    for (name, bytes) in [("small files", &small), ("a large file", &large)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| walk(black_box(bytes))));
    }
    group.finish();

    let mut group = criterion.benchmark_group("layer");
    group.throughput(Throughput::Bytes(large.len() as u64));
    let packed = gzip(&large);
    group.bench_function("gzip with points", |b| b.iter(|| decompress(LayerReader::with_points, black_box(&packed))));
    for (name, bytes) in [("gzip", packed), ("zstd", zstd(&large)), ("bare", large)] {
        group.bench_function(name, |b| b.iter(|| decompress(LayerReader::new, black_box(&bytes))));
    }
    group.finish();
    criterion.final_summary();
}

fn walk(bytes: &[u8]) -> u64 {
    let mut reader = TarReader::new(bytes, Limits::default());
    let mut buffer = vec![0; 64 << 10];
    let mut sum = 0;
    while reader.next_entry().expect("the tar is whole").is_some() {
        while let count @ 1.. = reader.read_payload(&mut buffer).expect("the tar is whole") {
            // Seen by somebody, or the copy is optimised away.
            sum += black_box(&buffer[..count]).len() as u64;
        }
    }
    sum
}

fn decompress<'b>(reader: fn(&'b [u8], Limits) -> LayerReader<&'b [u8]>, bytes: &'b [u8]) -> u64 {
    let mut reader = reader(bytes, Limits::default());
    let mut buffer = vec![0; 256 << 10];
    while reader.read(&mut buffer).expect("the blob is whole") > 0 {}
    reader.finish().expect("the blob is whole").uncompressed_bytes
}
