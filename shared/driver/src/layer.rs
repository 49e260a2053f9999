//! One layer: a front on this thread, a back on another, the pool between them.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use accel_image::{Digest, Hasher};
use crossbeam_channel::{Receiver, bounded};

use crate::DriverError;
use crate::codec::Codec;
use crate::pool::{Pending, Pool};
use crate::sink::Sink;
use crate::unit::Unit;

/// What a front hands over.
pub(crate) enum Passed<R> {
    /// A unit on its way through the pool, and the records up to its end.
    Batch { records: Vec<R>, pending: Pending },
    /// The layer is complete. A queue that ends without this was given up.
    End,
}

/// The back of a driver.
pub trait Assemble: Send {
    /// What the front says of each entry.
    type Record: Send;
    /// What is known of the layer at the end.
    type Summary: Send;

    /// Takes the records of one unit, and writes of its output what belongs into the blob. Called in order.
    ///
    /// # Errors
    /// Any that make the layer impossible, and those of writing.
    fn absorb(&mut self, records: Vec<Self::Record>, unit: &Unit, blob: &mut BlobWriter<'_>)
    -> Result<(), DriverError>;

    /// Writes what comes after the last unit.
    ///
    /// # Errors
    /// Those of writing.
    fn finish(self, blob: &mut BlobWriter<'_>) -> Result<Self::Summary, DriverError>;
}

/// The converted blob: hashes and counts what it sends on, compressed and uncompressed.
pub struct BlobWriter<'o> {
    output: &'o mut (dyn Write + Send),
    blob: Hasher,
    diff: Hasher,
}

impl BlobWriter<'_> {
    /// Where the next byte of the blob goes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.blob.bytes()
    }

    /// How many uncompressed bytes the blob has so far.
    #[must_use]
    pub const fn uncompressed_bytes(&self) -> u64 {
        self.diff.bytes()
    }

    /// Sends the next bytes of the blob.
    ///
    /// # Errors
    /// [`DriverError::Output`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        self.write_all(bytes).map_err(DriverError::Output)
    }

    /// Takes the next bytes of what the blob decompresses to, for the diff id.
    pub fn uncompressed(&mut self, bytes: &[u8]) {
        self.diff.update(bytes);
    }

    /// Sends the whole output of `unit`, which decompresses to its input.
    ///
    /// # Errors
    /// [`DriverError::Output`].
    pub fn write_unit(&mut self, unit: &Unit) -> Result<(), DriverError> {
        self.uncompressed(unit.input());
        self.write(unit.output())
    }

    /// The digest of the blob so far.
    #[must_use]
    pub fn digest_so_far(&self) -> Digest {
        self.blob.clone().finish()
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.blob.update(bytes);
        self.output.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A blob that was written to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished<S> {
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of what it decompresses to.
    pub diff_id: Digest,
    /// The size of that in bytes.
    pub uncompressed_size: u64,
    /// What the back says of it.
    pub summary: S,
}

/// A blob that is whole, with what the front says of it; or why the front broke off.
pub type Written<T, S, B> = ControlFlow<B, (T, Finished<S>)>;

/// Runs `front` on this thread and `back` on another, and writes the blob to `output` as it becomes known. Where the
/// front breaks off or fails, what was written of the blob is void, and the back does not end it.
///
/// # Errors
/// Those of the front; those of the back or the output, if the front stopped because of them.
pub fn write_layer<A: Assemble, T, B>(
    pool: &Pool,
    codec: Codec,
    back: A,
    output: &mut (dyn Write + Send),
    front: impl FnOnce(&mut Sink<A::Record>) -> Result<ControlFlow<B, T>, DriverError>,
) -> Result<Written<T, A::Summary, B>, DriverError> {
    // As long as there can be units: the pool alone limits how far the front runs ahead.
    let (batches, queue) = bounded(pool.inputs().most());
    let stopped = Arc::new(AtomicBool::new(false));
    let queue = Queue { batches: queue, stopped: Arc::clone(&stopped) };
    thread::scope(|scope| {
        let writer = scope.spawn(move || drain(&queue, back, output));
        let fronted = run_front(Sink::new(pool.clone(), codec, batches, stopped), front);
        let written = writer.join().unwrap_or(Err(DriverError::Codec));
        match (fronted, written) {
            (Ok(ControlFlow::Break(reason)), _) => Ok(ControlFlow::Break(reason)),
            (Ok(ControlFlow::Continue(value)), Ok(finished)) => Ok(ControlFlow::Continue((value, finished))),
            // A front fails with `Output` only because the back has stopped, and the back knows why.
            (Ok(ControlFlow::Continue(_)) | Err(DriverError::Output(_)), Err(error)) | (Err(error), _) => Err(error),
        }
    })
}

/// The sink is gone when this returns, so that the ordered writer comes to its end.
fn run_front<R, T, B>(
    mut sink: Sink<R>,
    front: impl FnOnce(&mut Sink<R>) -> Result<ControlFlow<B, T>, DriverError>,
) -> Result<ControlFlow<B, T>, DriverError> {
    let flow = front(&mut sink)?;
    if flow.is_continue() {
        sink.finish()?;
    }
    Ok(flow)
}

/// What the front hands over, for the ordered writer. Dropped on an error, it stops the front, and until the front has
/// stopped it takes the units that are still handed over out of the channel: the front may be waiting for one of them,
/// and while it lives the channel keeps them.
struct Queue<R> {
    batches: Receiver<Passed<R>>,
    stopped: Arc<AtomicBool>,
}

impl<R> Drop for Queue<R> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.batches.iter().for_each(drop);
    }
}

/// The ordered writer.
fn drain<A: Assemble>(
    queue: &Queue<A::Record>,
    mut back: A,
    output: &mut (dyn Write + Send),
) -> Result<Finished<A::Summary>, DriverError> {
    let mut blob = BlobWriter { output, blob: Hasher::default(), diff: Hasher::default() };
    for passed in &queue.batches {
        match passed {
            Passed::Batch { records, pending } => {
                let unit = pending.wait()?;
                back.absorb(records, &unit, &mut blob)?;
            }
            Passed::End => return finish(back, blob),
        }
    }
    Err(DriverError::Output(io::ErrorKind::BrokenPipe.into())) // given up: the front says why
}

fn finish<A: Assemble>(back: A, mut blob: BlobWriter<'_>) -> Result<Finished<A::Summary>, DriverError> {
    let summary = back.finish(&mut blob)?;
    let (size, uncompressed_size) = (blob.blob.bytes(), blob.diff.bytes());
    Ok(Finished { digest: blob.blob.finish(), size, diff_id: blob.diff.finish(), uncompressed_size, summary })
}

#[cfg(test)]
mod tests;
