//! How long each phase of a conversion took.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use accel_domain::task::Phase;
use accel_pipeline::{Event, Observer, Tally};

/// Times phases, counts, and passes everything on to another observer.
pub(crate) struct Phases<'o> {
    next: &'o dyn Observer,
    pub(crate) tally: Tally,
    began: Mutex<Vec<(Phase, Instant)>>,
}

impl<'o> Phases<'o> {
    pub(crate) fn new(next: &'o dyn Observer) -> Self {
        Self { next, tally: Tally::default(), began: Mutex::new(vec![(Phase::Queued, Instant::now())]) }
    }

    /// The phases so far with their time in milliseconds; the last one ends now.
    pub(crate) fn elapsed_ms(&self) -> Vec<(Phase, u128)> {
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = began.iter().skip(1).map(|(_, at)| *at).chain([Instant::now()]);
        began
            .iter()
            .zip(ends)
            .skip(1)
            .map(|((phase, from), to)| (*phase, to.duration_since(*from).as_millis()))
            .collect()
    }
}

impl Observer for Phases<'_> {
    fn event(&self, event: &Event<'_>) {
        if let Event::Phase(phase) = event {
            self.began.lock().unwrap_or_else(PoisonError::into_inner).push((*phase, Instant::now()));
        }
        self.tally.event(event);
        self.next.event(event);
    }
}
