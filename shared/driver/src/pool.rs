//! The process-wide pool: compression threads, and the units they work on.
//!
//! Peak memory is `threads + 2` units of 4 MiB in and a little more than 4 MiB out. A front that waits for a unit
//! holds none, and every unit that is handed over is finished by a thread that waits for nobody: no deadlock.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::DriverError;
use crate::unit::{Buffers, Codec, Encoder, Unit};

/// Units beyond one a thread: one that a front fills, one that a writer drains.
const SPARE_UNITS: usize = 2;

/// Compression threads and their units, shared by all layers of all images. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    threads: usize,
    jobs: Sender<Job>,
    units: Arc<Units>,
}

/// The units that nobody uses, and how many there are in all.
pub(crate) struct Units {
    most: usize,
    free: Mutex<Free>,
    returned: Condvar,
}

#[derive(Default)]
struct Free {
    buffers: Vec<Buffers>,
    made: usize,
}

struct Job {
    unit: Unit,
    codec: Codec,
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
        let (jobs, queue) = unbounded::<Job>(); // bounded by the number of units
        for number in 0..threads {
            let queue = queue.clone();
            let named = thread::Builder::new().name(format!("compress-{number}"));
            named.spawn(move || work(&queue)).expect("a process that cannot start a thread cannot go on");
        }
        let units = Units { most: threads + SPARE_UNITS, free: Mutex::default(), returned: Condvar::new() };
        Self { threads, jobs, units: Arc::new(units) }
    }

    /// How many threads compress.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// How many units there are at most.
    pub(crate) fn most_units(&self) -> usize {
        self.units.most
    }

    /// Whether all units are back within `time`: threads may still work on those of a layer that was given up.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn is_whole_within(&self, time: std::time::Duration) -> bool {
        let free = self.units.free.lock().unwrap_or_else(PoisonError::into_inner);
        let out = |free: &mut Free| free.buffers.len() < free.made;
        let (free, _) = self.units.returned.wait_timeout_while(free, time, out).unwrap_or_else(PoisonError::into_inner);
        free.buffers.len() == free.made
    }

    /// An empty unit, as soon as there is one. It returns to the pool when it is dropped.
    pub(crate) fn take(&self) -> Unit {
        Unit::new(self.units.take(), Arc::clone(&self.units))
    }

    /// Hands `unit` to the threads.
    pub(crate) fn compress(&self, unit: Unit, codec: Codec) -> Pending {
        let (done, pending) = bounded(1);
        let sent = self.jobs.send(Job { unit, codec, done });
        debug_assert!(sent.is_ok(), "the threads live as long as the pool");
        Pending(pending)
    }
}

impl Units {
    fn take(&self) -> Buffers {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(buffers) = free.buffers.pop() {
                return buffers;
            }
            if free.made < self.most {
                free.made += 1;
                return Buffers::new();
            }
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn give_back(&self, mut buffers: Buffers) {
        buffers.clear();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).buffers.push(buffers);
        self.returned.notify_one();
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
    for Job { mut unit, codec, done } in queue {
        let encoder = encoder.get_or_insert_with(|| Encoder::new(codec)).for_codec(codec);
        let result = unit.compress(encoder).map(|()| unit);
        // Nobody waits if the layer was given up; the unit then returns to the pool by being dropped.
        drop(done.send(result));
    }
}
