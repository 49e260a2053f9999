//! The counters of this process, as Prometheus reads them.

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{CONVERSION_SECONDS, Counted, Ended, Outlet, WEBHOOK_SECONDS};

/// The `Content-Type` of [`super::Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type ByOutcome = [(&'static str, &'static str); 1];
type ByCode = [(&'static str, u16); 1];

#[derive(Debug)]
pub(super) struct Page {
    registry: Registry,
    succeeded: Counter,
    failed: Counter,
    in_flight: Gauge,
    duration: Histogram,
    requests: Family<ByCode, Counter>,
    request_duration: Histogram,
    bytes_read: Counter,
    bytes_written: Counter,
    layers: Family<ByOutcome, Counter>,
}

impl Page {
    /// Counters that stand at zero.
    pub(super) fn new() -> Self {
        let mut page = Self {
            registry: Registry::default(),
            succeeded: Counter::default(),
            failed: Counter::default(),
            in_flight: Gauge::default(),
            duration: Histogram::new(CONVERSION_SECONDS),
            requests: Family::default(),
            request_duration: Histogram::new(WEBHOOK_SECONDS),
            bytes_read: Counter::default(),
            bytes_written: Counter::default(),
            layers: Family::default(),
        };
        page.register();
        page
    }

    /// Registers everything under its name; counters get their `_total` from the encoder.
    fn register(&mut self) {
        let Self { registry, .. } = self;
        registry.register("conversion_succeed", "Tasks that ended well", self.succeeded.clone());
        registry.register("conversion_failed", "Tasks that failed for good", self.failed.clone());
        registry.register("conversion_inflight_tasks", "Conversions running now", self.in_flight.clone());
        registry.register("conversion_duration_seconds", "From a task's start to its end", self.duration.clone());
        registry.register("webhook_request", "Webhook requests by HTTP status", self.requests.clone());
        let help = "From a webhook request to its answer";
        registry.register("webhook_request_duration_seconds", help, self.request_duration.clone());
        registry.register("bytes_read", "Layer bytes read from registries", self.bytes_read.clone());
        registry.register("bytes_written", "Layer bytes written to registries", self.bytes_written.clone());
        registry.register("layers", "Layers finished, by what became of them", self.layers.clone());
    }

    pub(super) fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("a String takes everything");
        page
    }

    fn ended(&self, ended: &Ended) {
        let counter = if ended.has_failed() { &self.failed } else { &self.succeeded };
        counter.inc();
        self.duration.observe(ended.took.as_secs_f64());
        self.bytes_read.inc_by(ended.progress.bytes_read);
        self.bytes_written.inc_by(ended.progress.bytes_written);
        for (outcome, count) in ended.layers() {
            self.layers.get_or_create(&[("outcome", outcome)]).inc_by(count);
        }
    }
}

impl Outlet for Page {
    fn count(&self, counted: &Counted) {
        match counted {
            Counted::Started => drop(self.in_flight.inc()),
            Counted::Stopped => drop(self.in_flight.dec()),
            Counted::Ended(ended) => self.ended(ended),
            Counted::Answered(code, took) => {
                self.requests.get_or_create(&[("code", *code)]).inc();
                self.request_duration.observe(took.as_secs_f64());
            }
            // Of this process, a trace says more.
            Counted::Phase(..) | Counted::Waited(_) | Counted::PutOff => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use accel_domain::task::State;

    use super::super::Metrics;
    use super::super::tests::ended;

    #[test]
    fn renders_what_was_counted() {
        let metrics = Metrics::new();
        let running = metrics.conversion_started();
        let stopped = metrics.conversion_started();
        drop(stopped);
        metrics.conversion_ended(ended(State::Completed, 4));
        metrics.conversion_ended(ended(State::Cancelled, 7200));
        metrics.webhook_answered(200, Duration::from_millis(2));
        let page = metrics.render();
        for line in [
            "conversion_succeed_total 1",
            "conversion_failed_total 1",
            "conversion_inflight_tasks 1",
            "conversion_duration_seconds_bucket{le=\"5.0\"} 1",
            "conversion_duration_seconds_bucket{le=\"3600.0\"} 1",
            "conversion_duration_seconds_count 2",
            "webhook_request_total{code=\"200\"} 1",
            "webhook_request_duration_seconds_bucket{le=\"0.0025\"} 1",
            "bytes_read_total 20",
            "bytes_written_total 14",
            "layers_total{outcome=\"reused\"} 6",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        drop(running);
        assert!(metrics.render().contains("conversion_inflight_tasks 0"));
    }
}
