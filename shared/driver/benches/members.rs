//! Writing members: chunks of several sizes through the sink, one compression thread and the ordered writer.

use std::io::sink;
use std::ops::ControlFlow;

use accel_driver::{Assemble, BlobWriter, Codec, Cut, DriverError, Pool, Unit, write_layer};
use accel_test_support::text;
use criterion::{BenchmarkId, Criterion, Throughput};

const BYTES: usize = 8 << 20;

/// A back that has nothing to say.
struct Silent;

impl Assemble for Silent {
    type Record = ();
    type Summary = ();

    fn absorb(&mut self, _: Vec<()>, unit: &Unit, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        blob.write_unit(unit)
    }

    fn finish(self, _: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        Ok(())
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let (pool, bytes) = (Pool::new(1), text(1, BYTES));
    let mut group = criterion.benchmark_group("members");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(20);
    for chunk_bytes in [2 << 10, 64 << 10, 4 << 20] {
        group
            .bench_function(BenchmarkId::from_parameter(chunk_bytes), |b| b.iter(|| write(&pool, &bytes, chunk_bytes)));
    }
    group.finish();
    criterion.final_summary();
}

fn write(pool: &Pool, bytes: &[u8], chunk_bytes: usize) -> u64 {
    let written = write_layer(pool, Codec::Gzip { level: 5 }, Silent, &mut sink(), |sink| {
        for chunk in bytes.chunks(chunk_bytes) {
            sink.chunk(chunk.len(), Cut::NewMember, |into| {
                into.copy_from_slice(chunk);
                Ok(())
            })?;
        }
        Ok(ControlFlow::<(), ()>::Continue(()))
    });
    match written {
        Ok(ControlFlow::Continue(((), finished))) => finished.size,
        Ok(ControlFlow::Break(())) | Err(_) => panic!("nothing can fail here"),
    }
}
