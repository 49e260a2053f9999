//! Watching a conversion, and stopping it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use accel_domain::task::{Phase, Progress};
use accel_image::Digest;
use tokio::sync::watch;

use crate::error::ConvertError;

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
            Event::Planned { layers } => {
                let Progress { bytes_read, bytes_written, .. } = *progress;
                *progress = Progress { layers_total: *layers, bytes_read, bytes_written, ..Progress::default() };
            }
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
    /// Another layer of the image has failed.
    LayerFailed,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the task was cancelled",
            Self::Shutdown => "the process is shutting down",
            Self::Deadline => "the invocation's time is nearly over",
            Self::LeaseLost => "the task's lease was taken over",
            Self::LayerFailed => "another layer of the image has failed",
        })
    }
}

/// Stops a conversion.
#[derive(Debug)]
pub struct Stop(watch::Sender<Option<StopReason>>);

/// Says whether a conversion is to stop.
#[derive(Debug, Clone)]
pub struct StopSignal {
    own: watch::Receiver<Option<StopReason>>,
    outer: Option<Box<StopSignal>>,
}

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
        StopSignal { own: self.0.subscribe(), outer: None }
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
    /// A signal that `stop` gives as well as this one.
    #[must_use]
    pub fn or(&self, stop: &Stop) -> Self {
        Self { outer: Some(Box::new(self.clone())), ..stop.signal() }
    }

    /// The reason to stop, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        let outer = self.outer.as_ref().and_then(|outer| outer.reason());
        outer.or(*self.own.borrow())
    }

    /// Waits for a reason to stop; for ever where nobody can give one any more.
    pub async fn stopped(&mut self) -> StopReason {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            let Self { own, outer } = self;
            let outer = async {
                match outer {
                    Some(outer) => Box::pin(outer.stopped()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reason = outer => return reason,
                changed = own.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }

    /// `work`, unless there is a reason to stop before it is done; it is dropped then.
    ///
    /// # Errors
    /// [`ConvertError::Stopped`], and those of `work`.
    pub(crate) async fn unless<T, E: Into<ConvertError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ConvertError> {
        let mut signal = self.clone();
        tokio::select! {
            biased;
            reason = signal.stopped() => Err(ConvertError::Stopped(reason)),
            done = work => done.map_err(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn either_of_two_stops_is_heard_and_the_first_reason_holds() {
        let (outer, inner) = (Stop::new(), Stop::new());
        let mut signal = outer.signal().or(&inner);
        assert_eq!(signal.reason(), None);
        let waiting = tokio::spawn(async move { signal.stopped().await });
        outer.stop(StopReason::Cancelled);
        outer.stop(StopReason::Shutdown);
        assert_eq!(waiting.await.unwrap(), StopReason::Cancelled);
        let mut signal = Stop::new().signal().or(&inner);
        inner.stop(StopReason::LayerFailed);
        assert_eq!(signal.stopped().await, StopReason::LayerFailed);
    }
}
