//! What every driver must hold, with the doubles to see it: a source in memory, and an output in memory.
//!
//! A driver's own tests say what its bytes mean. These say that the bytes are always the same, that sums are true,
//! and that a failure is told as what it was and leaves the pool whole.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use accel_image::Digest;
use accel_stream::StreamError;

use crate::{Converted, Driver, DriverError, Output, Pool, Source};

/// How long compression of one unit may take at the very most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source layer in memory. The n-th download yields the n-th of its blobs, the last one from then on.
#[derive(Debug, Clone)]
pub struct Downloads {
    blobs: Vec<Arc<[u8]>>,
    steps: Vec<usize>,
    opened: usize,
    open_now: Arc<AtomicUsize>,
}

impl Downloads {
    /// Every download yields `blob`.
    #[must_use]
    pub fn of(blob: &[u8]) -> Self {
        Self::differing(&[blob])
    }

    /// Downloads that do not agree with each other.
    ///
    /// # Panics
    /// There is no blob.
    #[must_use]
    pub fn differing(blobs: &[&[u8]]) -> Self {
        assert!(!blobs.is_empty(), "a source has a blob");
        let blobs = blobs.iter().map(|blob| Arc::from(*blob)).collect();
        Self { blobs, steps: vec![usize::MAX], opened: 0, open_now: Arc::default() }
    }

    /// Reads give at most so many bytes, in turn.
    #[must_use]
    pub fn in_steps(self, steps: &[usize]) -> Self {
        Self { steps: steps.to_vec(), ..self }
    }

    /// How many downloads were opened.
    #[must_use]
    pub const fn opened(&self) -> usize {
        self.opened
    }
}

impl Source for Downloads {
    fn open(&mut self) -> Result<Box<dyn Read + Send>, StreamError> {
        let blob = Arc::clone(&self.blobs[self.opened.min(self.blobs.len() - 1)]);
        self.opened += 1;
        let before = self.open_now.fetch_add(1, Ordering::SeqCst);
        assert_eq!(before, 0, "one download at a time");
        let open = Open(Arc::clone(&self.open_now));
        Ok(Box::new(Download { blob, at: 0, steps: self.steps.clone(), reads: 0, _open: open }))
    }
}

struct Download {
    blob: Arc<[u8]>,
    at: usize,
    steps: Vec<usize>,
    reads: usize,
    _open: Open,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let step = self.steps[self.reads % self.steps.len()].max(1);
        self.reads += 1;
        let rest = &self.blob[self.at..];
        let count = rest.len().min(out.len()).min(step);
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

/// A converted blob in memory.
#[derive(Debug, Default)]
pub struct Kept {
    /// The blob, since the last restart.
    pub blob: Vec<u8>,
    /// How often it began again.
    pub restarts: usize,
    fails_after: Option<usize>,
}

impl Kept {
    /// An output that breaks once it has taken `bytes`.
    #[must_use]
    pub fn failing_after(bytes: usize) -> Self {
        Self { fails_after: Some(bytes), ..Self::default() }
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fails_after.is_some_and(|most| self.blob.len() + bytes.len() > most) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the double was told to break here"));
        }
        self.blob.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Kept {
    fn restart(&mut self) -> io::Result<()> {
        self.blob.clear();
        self.restarts += 1;
        Ok(())
    }
}

/// Converts `layer` in memory.
///
/// # Errors
/// The driver's.
pub fn convert(driver: &dyn Driver, pool: &Pool, layer: &[u8]) -> Result<(Converted, Vec<u8>), DriverError> {
    let mut output = Kept::default();
    let converted = driver.convert(pool, &mut Downloads::of(layer), &mut output)?;
    Ok((converted, output.blob))
}

/// Holds `driver` to what every driver must do with a layer that it can represent. `layer` is the layer's blob.
/// Returns the result, for the format's own checks.
///
/// # Panics
/// The driver does not hold it.
pub fn check(driver: &dyn Driver, layer: &[u8]) -> (Converted, Vec<u8>) {
    let pool = Pool::new(2);
    let (converted, blob) = convert(driver, &pool, layer).expect("the layer can be represented");
    check_sums(&converted, layer, &blob);
    check_same_everywhere(driver, layer, &converted, &blob);
    check_failures(driver, &pool, layer, &converted, &blob);
    (converted, blob)
}

fn check_sums(converted: &Converted, layer: &[u8], blob: &[u8]) {
    assert_eq!(converted.digest, Digest::of(blob), "the blob's digest");
    assert_eq!(converted.size, blob.len() as u64, "the blob's size");
    assert_eq!(converted.source.source_digest, Digest::of(layer), "the source's digest");
    assert_eq!(converted.source.source_bytes, layer.len() as u64, "the source's size");
}

/// Threads and read sizes are not part of the input.
fn check_same_everywhere(driver: &dyn Driver, layer: &[u8], converted: &Converted, blob: &[u8]) {
    let rows: [(usize, &[usize]); 4] = [(1, &[usize::MAX]), (2, &[1, 511, 7, 65_536, 3]), (2, &[1]), (8, &[4096])];
    for (threads, steps) in rows {
        let pool = Pool::new(threads);
        let mut output = Kept::default();
        let mut source = Downloads::of(layer).in_steps(steps);
        let again = driver.convert(&pool, &mut source, &mut output);
        assert_eq!(again.as_ref().ok(), Some(converted), "{threads} threads, reads of {steps:?}: {again:?}");
        assert!(output.blob == blob, "{threads} threads, reads of {steps:?}: other bytes");
        assert!(pool.is_whole_within(PATIENCE), "units that did not come back");
    }
}

/// A broken end is told as what it is, and the pool goes on.
fn check_failures(driver: &dyn Driver, pool: &Pool, layer: &[u8], converted: &Converted, blob: &[u8]) {
    for taken in [0, 1, blob.len() / 2, blob.len() - 1] {
        let failed = driver.convert(pool, &mut Downloads::of(layer), &mut Kept::failing_after(taken));
        let kind = match failed {
            Err(DriverError::Output(error)) => error.kind(),
            other => panic!("an output that takes {taken} bytes: {other:?}"),
        };
        assert_eq!(kind, io::ErrorKind::ConnectionReset, "the output's own error, not the channel's");
        assert!(pool.is_whole_within(PATIENCE), "units that did not come back after {taken} bytes");
    }
    let cut = driver.convert(pool, &mut Downloads::of(&layer[..layer.len() / 2]), &mut Kept::default());
    let short = cut.as_ref().is_ok_and(|cut| cut.source.source_bytes != converted.source.source_bytes);
    assert!(short || matches!(cut, Err(DriverError::Source(_))), "half a layer: {cut:?}");
    assert!(pool.is_whole_within(PATIENCE), "units that did not come back after half a layer");
    let again = convert(driver, pool, layer).expect("the pool goes on");
    assert!(again.0 == *converted && again.1 == blob, "other bytes after failures");
}
