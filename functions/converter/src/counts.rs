//! What a run has done so far, and a bell for whoever has to hear of it at once.

use std::sync::{Mutex, PoisonError};

use accel_domain::task::{Phase, Progress};
use accel_image::Digest;
use accel_pipeline::{Event, Observer, Tally};
use tokio::sync::Notify;

/// Counts what happens. Rings when a layer is finished, and when it is known how many there are.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    tally: Tally,
    bell: Notify,
    working_on: Mutex<Option<(Digest, u64)>>,
}

impl Counts {
    /// The counts so far.
    pub(crate) fn seen(&self) -> (Phase, Progress) {
        self.tally.seen()
    }

    /// The layer that was begun last, and its size in bytes.
    pub(crate) fn working_on(&self) -> Option<(Digest, u64)> {
        *self.working_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has rung since the last time; for one listener.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Observer for Counts {
    fn event(&self, event: &Event<'_>) {
        self.tally.event(event);
        if let Event::LayerStarted { layer, size } = event {
            *self.working_on.lock().unwrap_or_else(PoisonError::into_inner) = Some((*layer, *size));
        }
        if matches!(event, Event::Planned { .. } | Event::LayerDone { .. }) {
            self.bell.notify_one();
        }
    }
}
