//! Watching a conversion, and stopping it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use accel_domain::task::{Phase, Progress};
use accel_image::Digest;
use tokio::sync::watch;

/// Something that happened in a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// The conversion does something else now.
    Phase(Phase),
    /// So many distinct source layers are to be finished.
    Planned {
        /// How many.
        layers: u32,
    },
    /// Work on a layer begins.
    LayerStarted {
        /// The source layer.
        layer: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// Bytes of the layer were read.
    LayerRead {
        /// The source layer.
        layer: Digest,
        /// How many.
        bytes: u64,
    },
    /// Bytes of the converted layer were written.
    LayerWritten {
        /// The source layer.
        layer: Digest,
        /// How many.
        bytes: u64,
    },
    /// A layer is finished.
    LayerDone {
        /// The source layer.
        layer: Digest,
        /// How.
        end: LayerEnd,
        /// Why it was kept; empty otherwise.
        reason: &'e str,
    },
}

/// How a layer was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerEnd {
    /// Converted and uploaded.
    Converted,
    /// Remembered, and the target's repository has it.
    Reused,
    /// Remembered, and mounted from another repository.
    Mounted,
    /// It stays as it was.
    Kept,
}

/// Sees what happens in a conversion. Called often, from many threads: must be quick.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// Counts what happens.
#[derive(Debug, Default)]
pub struct Tally(Mutex<(Phase, Progress)>);

impl Tally {
    /// The counts so far.
    #[must_use]
    pub fn seen(&self) -> (Phase, Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Tally {
    fn event(&self, event: &Event<'_>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (phase, progress) = &mut *seen;
        match event {
            Event::Phase(next) => *phase = *next,
            Event::Planned { layers } => progress.layers_total = *layers,
            Event::LayerStarted { .. } => {}
            Event::LayerRead { bytes, .. } => progress.bytes_read += bytes,
            Event::LayerWritten { bytes, .. } => progress.bytes_written += bytes,
            Event::LayerDone { end, .. } => match end {
                LayerEnd::Converted => progress.layers_converted += 1,
                LayerEnd::Reused => progress.layers_reused += 1,
                LayerEnd::Mounted => progress.layers_mounted += 1,
                LayerEnd::Kept => progress.layers_kept += 1,
            },
        }
    }
}

/// Why a conversion is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A person wants it.
    Cancelled,
    /// The process ends.
    Shutdown,
    /// The invocation's time is nearly over.
    Deadline,
    /// Somebody else runs the task now.
    LeaseLost,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the task was cancelled",
            Self::Shutdown => "the process is shutting down",
            Self::Deadline => "the invocation's time is nearly over",
            Self::LeaseLost => "the task's lease was taken over",
        })
    }
}

/// Stops a conversion.
#[derive(Debug)]
pub struct Stop(watch::Sender<Option<StopReason>>);

/// Says whether a conversion is to stop.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<Option<StopReason>>);

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// A stop that nobody has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::channel(None).0)
    }

    /// A signal of this stop.
    #[must_use]
    pub fn signal(&self) -> StopSignal {
        StopSignal(self.0.subscribe())
    }

    /// Asks the conversion to stop; the first reason holds.
    pub fn stop(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(reason);
            first
        });
    }
}

impl StopSignal {
    /// The reason to stop, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    /// Waits for a reason to stop; for ever where nobody can give one any more.
    pub async fn stopped(&mut self) -> StopReason {
        loop {
            if let Some(reason) = *self.0.borrow_and_update() {
                return reason;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
