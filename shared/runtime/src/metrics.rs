//! What is counted. The code says it once, to [`Metrics`]; where it goes is for outlets: the page of this process for
//! Prometheus, in AWS lines for CloudWatch and the counters in the table.

mod page;
mod totals;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::Format;
use accel_domain::task::{Phase, Progress, State, Status};

use page::Page;

pub use page::CONTENT_TYPE;
pub use totals::{TOTALS_CONTENT_TYPE, Totals, totals_page};

/// Seconds: from an image that was there already to an hour.
const CONVERSION_SECONDS: [f64; 12] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0];
/// Seconds: the webhook answers within one, Harbor waits for three.
const WEBHOOK_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0];

/// A task that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// What it was to make.
    pub format: Format,
    /// How it ended.
    pub state: State,
    /// From its creation to its end, over all its attempts.
    pub took: Duration,
    /// What was done for it.
    pub progress: Progress,
}

impl Ended {
    /// Whether it has failed for good.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        Status::from(self.state) == Status::Failed
    }

    /// Its layers, by what has become of them.
    #[must_use]
    pub fn layers(&self) -> [(&'static str, u64); 4] {
        let Progress { layers_converted, layers_reused, layers_mounted, layers_kept, .. } = self.progress;
        [
            ("converted", layers_converted.into()),
            ("reused", layers_reused.into()),
            ("mounted", layers_mounted.into()),
            ("kept", layers_kept.into()),
        ]
    }
}

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub enum Counted {
    /// A conversion has begun.
    Started,
    /// It runs no more, for now or for good.
    Stopped,
    /// A task has ended.
    Ended(Ended),
    /// A run has spent this time in a phase.
    Phase(Phase, Duration),
    /// A message has waited in the queue.
    Waited(Duration),
    /// A message could not be settled yet, and was put off.
    PutOff,
    /// A webhook request was answered with an HTTP status.
    Answered(u16, Duration),
}

/// Where what is counted goes. Called wherever something happens: it must not wait.
pub trait Outlet: Send + Sync {
    /// Takes notice.
    fn count(&self, counted: &Counted);
}

/// What the code counts with. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    page: Page,
    others: Vec<Arc<dyn Outlet>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("outlets", &(1 + self.0.others.len())).finish()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters of this process, which stand at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Vec::new())
    }

    /// The same, and `others` beside them.
    #[must_use]
    pub fn with(others: Vec<Arc<dyn Outlet>>) -> Self {
        Self(Arc::new(Inner { page: Page::new(), others }))
    }

    /// A conversion has begun: it counts as in flight until the guard is dropped.
    pub fn conversion_started(&self) -> InFlight {
        self.count(&Counted::Started);
        InFlight(self.clone())
    }

    /// A task has ended.
    pub fn conversion_ended(&self, ended: Ended) {
        self.count(&Counted::Ended(ended));
    }

    /// A run has spent `took` in `phase`.
    pub fn phase_took(&self, phase: Phase, took: Duration) {
        self.count(&Counted::Phase(phase, took));
    }

    /// A message has waited in the queue.
    pub fn message_waited(&self, took: Duration) {
        self.count(&Counted::Waited(took));
    }

    /// A message could not be settled yet, and was put off.
    pub fn message_put_off(&self) {
        self.count(&Counted::PutOff);
    }

    /// A webhook request was answered with HTTP status `code`.
    pub fn webhook_answered(&self, code: u16, took: Duration) {
        self.count(&Counted::Answered(code, took));
    }

    /// The counters of this process as text, of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        self.0.page.render()
    }

    fn count(&self, counted: &Counted) {
        self.0.page.count(counted);
        self.0.others.iter().for_each(|outlet| outlet.count(counted));
    }
}

/// A running conversion.
#[derive(Debug)]
#[must_use = "the conversion counts as in flight until this is dropped"]
pub struct InFlight(Metrics);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.count(&Counted::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that has ended after `seconds`.
    pub(super) fn ended(state: State, seconds: u64) -> Ended {
        let progress = Progress { layers_reused: 3, bytes_read: 10, bytes_written: 7, ..Progress::default() };
        Ended { format: Format::Estargz, state, took: Duration::from_secs(seconds), progress }
    }

    #[test]
    fn everything_goes_to_every_outlet() {
        let totals = Arc::new(Totals::default());
        let metrics = Metrics::with(vec![Arc::clone(&totals) as Arc<dyn Outlet>]);
        let _running = metrics.conversion_started();
        metrics.clone().conversion_ended(ended(State::Superseded, 4));
        metrics.phase_took(Phase::Convert, Duration::from_secs(1));
        metrics.message_waited(Duration::from_secs(1));
        assert!(metrics.render().contains("conversion_succeed_total 1\n"));
        assert_eq!(totals.take().get("conversion_succeed_total"), Some(&1));
    }
}
