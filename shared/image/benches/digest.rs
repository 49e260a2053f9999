//! Digests: of a whole chunk, and of bytes that pass.

use std::hint::black_box;

use accel_image::{Digest, Hasher};
use criterion::{Criterion, Throughput};

const BYTES: usize = 4 << 20;
const STEP_BYTES: usize = 64 << 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let bytes = vec![7; BYTES];
    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("of a chunk", |b| b.iter(|| Digest::of(black_box(&bytes))));
    group.bench_function("of steps", |b| {
        b.iter(|| {
            let mut hasher = Hasher::default();
            bytes.chunks(STEP_BYTES).for_each(|step| hasher.update(black_box(step)));
            hasher.finish()
        });
    });
    group.finish();
    criterion.final_summary();
}
