//! The work: one thread inflates and cuts, others deflate and hash chunks, this one puts in order and hashes the rest.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::thread;

use accel_image::{Digest, Hasher};
use anyhow::ensure;
use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::bufread::MultiGzDecoder;
use libdeflater::{CompressionLvl, Compressor};

use crate::plan::{Layer, Member};

/// Members are handed over by about so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes that are inflated and hashed at a time: they are in the processor's cache meanwhile.
const STEP_BYTES: usize = 256 << 10;

/// How much passed.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) plain: u64,
    pub(crate) compressed: u64,
}

/// Some members of a layer.
#[derive(Default)]
struct Batch {
    number: usize,
    layer: usize,
    members: Range<usize>,
    plain: Vec<u8>,
    compressed: Vec<u8>,
}

/// Converts the layers one after the other, each as soon as the one before it is inflated.
pub(crate) fn convert(layers: &[Layer], threads: usize, level: CompressionLvl) -> anyhow::Result<Sums> {
    let depth = 2 * threads + 2;
    let (give_back, free) = bounded(depth);
    for _ in 0..depth {
        give_back.send(Batch::default())?;
    }
    let (cut, work) = bounded::<Batch>(depth);
    let (finished, done) = bounded::<anyhow::Result<Batch>>(depth);
    thread::scope(|scope| {
        let inflating = scope.spawn(move || inflate_all(layers, &free, &cut));
        for _ in 0..threads {
            let (work, finished) = (work.clone(), finished.clone());
            scope.spawn(move || deflate_all(layers, level, &work, &finished));
        }
        drop((work, finished));
        let sums = put_in_order(layers, &done, &give_back);
        drop((done, give_back));
        let inflated = inflating.join().map_err(|_| anyhow::anyhow!("inflating panicked"))?;
        sums.and_then(|sums| inflated.map(|()| sums))
    })
}

fn inflate_all(layers: &[Layer], free: &Receiver<Batch>, cut: &Sender<Batch>) -> anyhow::Result<()> {
    let mut number = 0;
    for (at, layer) in layers.iter().enumerate() {
        let source = Hashed { bytes: layer.source.as_slice(), hasher: Hasher::default() };
        let mut plain = Plain {
            prefix: layer.prefix.as_slice(),
            gzip: MultiGzDecoder::new(BufReader::with_capacity(64 << 10, source)),
            diff: Hasher::default(),
        };
        for members in batches(&layer.members) {
            let mut batch = free.recv()?;
            let bytes = layer.members[members.clone()].iter().map(|member| member.bytes).sum();
            batch.plain.resize(bytes, 0);
            plain.fill(&mut batch.plain)?;
            cut.send(Batch { number, layer: at, members, ..batch })?;
            number += 1;
        }
        ensure!(plain.finish()? == layer.source_digest, "the source is not what its digest says");
    }
    Ok(())
}

/// Runs of members that are worth handing over.
fn batches(members: &[Member]) -> Vec<Range<usize>> {
    let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, member) in members.iter().enumerate() {
        if at > start && bytes + member.bytes > BATCH_BYTES {
            runs.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += member.bytes;
    }
    runs.push(start..members.len());
    runs
}

/// What a layer inflates to, behind its prefix.
struct Plain<'l> {
    prefix: &'l [u8],
    gzip: MultiGzDecoder<BufReader<Hashed<'l>>>,
    diff: Hasher,
}

impl Plain<'_> {
    fn fill(&mut self, out: &mut [u8]) -> anyhow::Result<()> {
        let (first, rest) = out.split_at_mut(self.prefix.len().min(out.len()));
        first.copy_from_slice(&self.prefix[..first.len()]);
        self.prefix = &self.prefix[first.len()..];
        for step in rest.chunks_mut(STEP_BYTES) {
            self.gzip.read_exact(step)?;
            self.diff.update(step);
        }
        Ok(())
    }

    /// Reads the end of the archive, and gives the digest of the blob.
    fn finish(mut self) -> anyhow::Result<Digest> {
        let mut rest = vec![0; STEP_BYTES];
        loop {
            let count = self.gzip.read(&mut rest)?;
            if count == 0 {
                break;
            }
            self.diff.update(&rest[..count]);
        }
        std::hint::black_box(self.diff.finish());
        Ok(self.gzip.into_inner().into_inner().hasher.finish())
    }
}

/// Hashes what is read.
struct Hashed<'l> {
    bytes: &'l [u8],
    hasher: Hasher,
}

impl Read for Hashed<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.bytes.read(out)?;
        self.hasher.update(&out[..count]);
        Ok(count)
    }
}

fn deflate_all(
    layers: &[Layer],
    level: CompressionLvl,
    work: &Receiver<Batch>,
    finished: &Sender<anyhow::Result<Batch>>,
) {
    let mut compressor = Compressor::new(level);
    for mut batch in work {
        let members = &layers[batch.layer].members[batch.members.clone()];
        let result = deflate(members, &mut compressor, &mut batch).map(|()| batch);
        if finished.send(result).is_err() {
            return;
        }
    }
}

fn deflate(members: &[Member], compressor: &mut Compressor, batch: &mut Batch) -> anyhow::Result<()> {
    let (mut from, mut to) = (0, 0);
    for member in members {
        let plain = &batch.plain[from..from + member.bytes];
        for chunk in &member.chunks {
            let digest = Digest::of(&plain[chunk.start..chunk.start + chunk.bytes]);
            ensure!(digest == chunk.digest, "a chunk is not what the TOC says");
        }
        let most = to + compressor.gzip_compress_bound(plain.len());
        if batch.compressed.len() < most {
            batch.compressed.resize(most, 0);
        }
        to += compressor.gzip_compress(plain, &mut batch.compressed[to..])?;
        from += member.bytes;
    }
    batch.compressed.truncate(to);
    Ok(())
}

fn put_in_order(
    layers: &[Layer],
    done: &Receiver<anyhow::Result<Batch>>,
    give_back: &Sender<Batch>,
) -> anyhow::Result<Sums> {
    let (mut early, mut next, mut sums) = (BTreeMap::new(), 0, Sums::default());
    let mut hashes = Hashes::default();
    for batch in done {
        let batch = batch?;
        early.insert(batch.number, batch);
        while let Some(batch) = early.remove(&next) {
            next += 1;
            let layer = &layers[batch.layer];
            hashes.update(&layer.members[batch.members.clone()], &batch);
            sums.plain += batch.plain.len() as u64;
            sums.compressed += batch.compressed.len() as u64;
            if batch.members.end == layer.members.len() {
                ensure!(std::mem::take(&mut hashes).finish() == layer.digest, "the members are other bytes");
            }
            // Nobody takes it any more once all is inflated.
            drop(give_back.try_send(batch));
        }
    }
    let all: usize = layers.iter().map(|layer| batches(&layer.members).len()).sum();
    ensure!(next == all, "a thread gave up");
    Ok(sums)
}

/// The digests of a layer that are taken in order.
#[derive(Default)]
struct Hashes {
    blob: Hasher,
    diff: Hasher,
    file: Hasher,
}

impl Hashes {
    fn update(&mut self, members: &[Member], batch: &Batch) {
        self.blob.update(&batch.compressed);
        self.diff.update(&batch.plain);
        let mut from = 0;
        for member in members {
            for chunk in member.chunks.iter().filter(|chunk| chunk.of_many) {
                self.file.update(&batch.plain[from + chunk.start..from + chunk.start + chunk.bytes]);
            }
            from += member.bytes;
        }
    }

    /// The digest of the blob.
    fn finish(self) -> Digest {
        std::hint::black_box((self.diff.finish(), self.file.finish()));
        self.blob.finish()
    }
}
