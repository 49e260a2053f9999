//! What a run has done so far, and a bell for whoever has to hear of it at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use accel_domain::task::{FanOut, Phase, Progress, Task};
use accel_image::Digest;
use accel_pipeline::{Event, LayerEnd, Observer, Tally};
use tokio::sync::Notify;

/// Counts what happens. Rings when a layer is finished, and when it is known how many there are.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// What the units of the task have done before.
    before: Option<FanOut>,
    tally: Tally,
    bell: Notify,
    working_on: Mutex<Option<(Digest, u64)>>,
    phases: Mutex<Vec<(Phase, Instant)>>,
}

impl Counts {
    /// Counts that go on from what the units of `task` have done, if it has fanned out.
    pub(crate) fn of(task: &Task) -> Self {
        Self { before: task.fan_out.clone(), ..Self::default() }
    }

    /// The counts so far.
    pub(crate) fn seen(&self) -> (Phase, Progress) {
        let (phase, seen) = self.tally.seen();
        (phase, self.before.as_ref().map_or(seen, |before| before.progress.plus(seen)))
    }

    /// Whether a unit has finished `layer`, which is found remembered then and counted already.
    fn is_counted(&self, layer: Digest, end: LayerEnd) -> bool {
        end != LayerEnd::Converted && self.before.as_ref().is_some_and(|before| before.finished.contains(&layer))
    }

    /// The layer that was begun last, and its size in bytes.
    pub(crate) fn working_on(&self) -> Option<(Digest, u64)> {
        *self.working_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phases of this run so far, and how long each has taken, the one that it is in included.
    pub(crate) fn phases(&self) -> Vec<(Phase, Duration)> {
        let begun = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = begun.iter().skip(1).map(|(_, at)| *at).chain([Instant::now()]);
        begun.iter().zip(ends).map(|((phase, at), end)| (*phase, end.saturating_duration_since(*at))).collect()
    }

    /// Waits until it has rung since the last time; for one listener.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Observer for Counts {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::LayerDone { layer, end, .. } if self.is_counted(*layer, *end) => {}
            event => self.tally.event(event),
        }
        if let Event::LayerStarted { layer, size } = event {
            *self.working_on.lock().unwrap_or_else(PoisonError::into_inner) = Some((*layer, *size));
        }
        if let Event::Phase(phase) = event {
            self.phases.lock().unwrap_or_else(PoisonError::into_inner).push((*phase, Instant::now()));
        }
        if matches!(event, Event::Planned { .. } | Event::LayerDone { .. }) {
            self.bell.notify_one();
        }
    }
}
