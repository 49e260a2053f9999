//! The process-wide pool: compression threads, and the buffers of the units they work on.
//!
//! Peak memory is `threads + 2` inputs of 4 MiB and `threads + 1` outputs of a little more. A front takes an output
//! when it hands a unit over, in the order of the layer, and every unit that is handed over is finished by a thread
//! that waits for nobody but earlier units of its layer: no deadlock.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::DriverError;
use crate::codec::{Codec, Encoder};
use crate::repeats::Order;
use crate::stock::Stock;
use crate::unit::{Compressed, Input, Unit};

/// Inputs beyond one a thread: one that a front fills, one that a writer drains.
const SPARE_INPUTS: usize = 2;
/// Outputs beyond one a thread: one that a writer drains.
const SPARE_OUTPUTS: usize = 1;

/// Compression threads and their buffers, shared by all layers of all images. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    threads: usize,
    jobs: Sender<Job>,
    inputs: Arc<Stock<Input>>,
    outputs: Arc<Stock<Compressed>>,
}

struct Job {
    unit: Unit,
    codec: Codec,
    repeats: Option<Order>,
    done: Sender<Result<Unit, DriverError>>,
}

/// A unit that is being compressed.
pub(crate) struct Pending(Receiver<Result<Unit, DriverError>>);

impl Pool {
    /// A pool of `threads` compression threads (at least one). They end when the last clone is dropped.
    ///
    /// # Panics
    /// If the process cannot start a thread.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let (jobs, queue) = unbounded::<Job>(); // bounded by the number of outputs
        for number in 0..threads {
            let queue = queue.clone();
            let named = thread::Builder::new().name(format!("compress-{number}"));
            named.spawn(move || work(&queue)).expect("a process that cannot start a thread cannot go on");
        }
        let (inputs, outputs) = (Stock::new(threads + SPARE_INPUTS), Stock::new(threads + SPARE_OUTPUTS));
        Self { threads, jobs, inputs, outputs }
    }

    /// How many threads compress.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Frees the buffers that no layer holds: for times without work.
    pub fn free_unused(&self) {
        self.inputs.free_unused();
        self.outputs.free_unused();
    }

    /// What units are filled in.
    pub(crate) const fn inputs(&self) -> &Arc<Stock<Input>> {
        &self.inputs
    }

    /// What units are compressed into.
    pub(crate) const fn outputs(&self) -> &Arc<Stock<Compressed>> {
        &self.outputs
    }

    /// Whether all buffers are back within `time`.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn is_whole_within(&self, time: std::time::Duration) -> bool {
        self.inputs.is_whole_within(time) && self.outputs.is_whole_within(time)
    }

    /// Hands `unit` to the threads.
    pub(crate) fn compress(&self, unit: Unit, codec: Codec, repeats: Option<Order>) -> Pending {
        let (done, pending) = bounded(1);
        let sent = self.jobs.send(Job { unit, codec, repeats, done });
        debug_assert!(sent.is_ok(), "the threads live as long as the pool");
        Pending(pending)
    }
}

impl Pending {
    /// Waits for the unit.
    pub(crate) fn wait(self) -> Result<Unit, DriverError> {
        self.0.recv().unwrap_or(Err(DriverError::Codec))
    }
}

/// What a compression thread does all its life.
fn work(queue: &Receiver<Job>) {
    let mut encoder: Option<Encoder> = None;
    for Job { mut unit, codec, repeats, done } in queue {
        let result = encoder_for(codec, &mut encoder).and_then(|encoder| unit.compress(encoder, repeats));
        // Nobody waits if the layer was given up; the unit then returns to the pool by being dropped.
        drop(done.send(result.map(|()| unit)));
    }
}

/// The thread's encoder if it fits `codec`, a new one otherwise.
fn encoder_for(codec: Codec, kept: &mut Option<Encoder>) -> Result<&mut Encoder, DriverError> {
    let fits = |encoder: &Encoder| encoder.codec() == codec;
    let encoder = match kept.take().filter(fits) {
        Some(encoder) => encoder,
        None => Encoder::new(codec)?,
    };
    Ok(kept.insert(encoder))
}
