//! Counters that outlive the process: what it has counted since they were taken, by the names of Prometheus' samples,
//! and the page that their totals make, wherever those are kept.
//!
//! Times are kept in milliseconds, since totals are whole numbers. What runs now is no total, and of the webhook's requests
//! CloudWatch knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use super::{CONVERSION_SECONDS, Counted, Ended, Outlet};

/// The `Content-Type` of [`totals_page`].
pub const TOTALS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const DURATION: &str = "conversion_duration_seconds";
const MILLISECONDS: &str = "conversion_duration_milliseconds";
const OUTCOMES: [&str; 4] = ["converted", "reused", "mounted", "kept"];
const COUNTERS: [(&str, &str); 4] = [
    ("conversion_succeed_total", "Tasks that ended well"),
    ("conversion_failed_total", "Tasks that failed for good"),
    ("bytes_read_total", "Layer bytes read from registries"),
    ("bytes_written_total", "Layer bytes written to registries"),
];

/// What this process has counted and nobody has taken yet.
#[derive(Debug, Default)]
pub struct Totals(Mutex<BTreeMap<String, u64>>);

impl Totals {
    /// What was counted since the last time, to be added to the totals.
    #[must_use]
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ended(&self, ended: &Ended) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = |name: String, count: u64| {
            if count > 0 {
                *counts.entry(name).or_default() += count;
            }
        };
        let [succeeded, failed, bytes_read, bytes_written] = COUNTERS.map(|(name, _)| name.to_owned());
        add(if ended.has_failed() { failed } else { succeeded }, 1);
        add(bytes_read, ended.progress.bytes_read);
        add(bytes_written, ended.progress.bytes_written);
        for (outcome, count) in ended.layers() {
            add(layers(outcome), count);
        }
        let seconds = ended.took.as_secs_f64();
        add(bucket(CONVERSION_SECONDS.into_iter().find(|most| seconds <= *most)), 1);
        add(MILLISECONDS.to_owned(), u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX));
    }
}

impl Outlet for Totals {
    fn count(&self, counted: &Counted) {
        match counted {
            Counted::Ended(ended) => self.ended(ended),
            Counted::Started
            | Counted::Stopped
            | Counted::Phase(..)
            | Counted::Waited(_)
            | Counted::PutOff
            | Counted::Answered(..) => {}
        }
    }
}

/// The page of `totals`, of type [`TOTALS_CONTENT_TYPE`], with the names that `accelctl serve` uses. What was never
/// counted stands at zero.
#[must_use]
pub fn totals_page(totals: &BTreeMap<String, u64>) -> String {
    let of = |name: &str| totals.get(name).copied().unwrap_or_default();
    let mut page = String::new();
    for (name, help) in COUNTERS {
        head(&mut page, name, help, "counter");
        line(&mut page, name, of(name));
    }
    head(&mut page, "layers_total", "Layers finished, by what became of them", "counter");
    for outcome in OUTCOMES {
        let name = layers(outcome);
        line(&mut page, &name, of(&name));
    }
    head(&mut page, DURATION, "From a task's start to its end", "histogram");
    let mut count = 0;
    for most in CONVERSION_SECONDS.into_iter().map(Some).chain([None]) {
        let name = bucket(most);
        count += of(&name);
        line(&mut page, &name, count);
    }
    let milliseconds = of(MILLISECONDS);
    line(&mut page, &format!("{DURATION}_sum"), format_args!("{}.{:03}", milliseconds / 1000, milliseconds % 1000));
    line(&mut page, &format!("{DURATION}_count"), count);
    page
}

fn layers(outcome: &str) -> String {
    format!("layers_total{{outcome=\"{outcome}\"}}")
}

/// The bucket for times of at most so many seconds.
fn bucket(most: Option<f64>) -> String {
    let most = most.map_or_else(|| "+Inf".to_owned(), |most| format!("{most:?}"));
    format!("{DURATION}_bucket{{le=\"{most}\"}}")
}

fn head(page: &mut String, name: &str, help: &str, kind: &str) {
    write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a String takes everything");
}

fn line(page: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(page, "{name} {value}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use accel_domain::task::State;

    use super::super::tests::ended;
    use super::*;

    #[test]
    fn totals_are_taken_once_and_make_a_page() {
        let totals = Totals::default();
        for (state, seconds) in [(State::Completed, 4), (State::AlreadyAccelerated, 0), (State::Failed, 7200)] {
            totals.count(&Counted::Ended(ended(state, seconds)));
        }
        totals.count(&Counted::Answered(200, Duration::from_secs(1)));
        let taken = totals.take();
        assert!(totals.take().is_empty());
        let page = totals_page(&taken);
        for line in [
            "# TYPE conversion_succeed_total counter",
            "conversion_succeed_total 2",
            "conversion_failed_total 1",
            "bytes_read_total 30",
            "bytes_written_total 21",
            "layers_total{outcome=\"reused\"} 9",
            "layers_total{outcome=\"kept\"} 0",
            "# TYPE conversion_duration_seconds histogram",
            "conversion_duration_seconds_bucket{le=\"0.1\"} 1",
            "conversion_duration_seconds_bucket{le=\"2.5\"} 1",
            "conversion_duration_seconds_bucket{le=\"5.0\"} 2",
            "conversion_duration_seconds_bucket{le=\"3600.0\"} 2",
            "conversion_duration_seconds_bucket{le=\"+Inf\"} 3",
            "conversion_duration_seconds_sum 7204.000",
            "conversion_duration_seconds_count 3",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        assert!(totals_page(&BTreeMap::new()).contains("conversion_duration_seconds_count 0"));
    }

    /// The page of one process and that of all have one name for one thing.
    #[test]
    fn every_sample_has_the_name_that_serve_gives_it() {
        let metrics = super::super::Metrics::new();
        metrics.conversion_ended(ended(State::Completed, 4));
        let names = |page: &str| -> Vec<String> {
            let samples = page.lines().filter(|line| !line.starts_with('#'));
            samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
        };
        let served = names(&metrics.render());
        for name in names(&totals_page(&BTreeMap::new())) {
            assert!(served.contains(&name), "{name} is not among {served:?}");
        }
    }
}
