//! A layer end to end: chunking where there is payload, building the TOC where there is none, and reading a TOC.

use std::hint::black_box;
use std::io::{self, Read, Write};

use accel_domain::EstargzOptions;
use accel_driver::{Driver as _, Output, Pool, Source};
use accel_driver_estargz::reader::{read_toc, toc_offset};
use accel_driver_estargz::{Estargz, FOOTER_BYTES};
use accel_stream::{Limits, StreamError};
use accel_test_support::tar::file;
use accel_test_support::{tar, text};
use criterion::{Criterion, Throughput};

const FILES: u64 = 20_000;

struct InMemory(Vec<u8>);

impl Source for InMemory {
    fn open(&mut self) -> Result<Box<dyn Read + Send>, StreamError> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}

#[derive(Default)]
struct Kept(Vec<u8>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Kept {
    fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let pool = Pool::new(1);
    let empty: Vec<_> = (0..FILES).map(|n| file(format!("usr/lib/python3/{n}.py"), "")).collect();
    let small: Vec<_> = (0..2000).map(|n| file(format!("usr/lib/python3/{n}.py"), text(n, 2000))).collect();
    let large = [file("usr/bin/large", text(1, 9 << 20))];

    let mut group = criterion.benchmark_group("layer");
    group.sample_size(20);
    for (name, entries) in [("small files", &small[..]), ("a large file", &large[..])] {
        let mut source = InMemory(tar(entries));
        group.throughput(Throughput::Bytes(source.0.len() as u64));
        group.bench_function(name, |b| b.iter(|| convert(&pool, &mut source)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("toc");
    group.sample_size(20).throughput(Throughput::Elements(FILES));
    let mut source = InMemory(tar(&empty));
    group.bench_function("build", |b| b.iter(|| convert(&pool, &mut source)));
    let blob = convert(&pool, &mut source);
    group.bench_function("read", |b| b.iter(|| entries(black_box(&blob))));
    group.finish();
    criterion.final_summary();
}

fn convert(pool: &Pool, source: &mut InMemory) -> Vec<u8> {
    let mut blob = Kept::default();
    let driver = Estargz::new(EstargzOptions::default(), Limits::default());
    driver.convert(pool, source, &mut blob).expect("the layer is a good one");
    blob.0
}

fn entries(blob: &[u8]) -> u64 {
    let (toc, _) = toc_offset(&blob[blob.len() - FOOTER_BYTES..], blob.len() as u64).expect("the blob has a footer");
    read_toc(&blob[toc as usize..], Limits::default(), &mut |_| Ok(())).expect("the TOC is a good one").entries
}
