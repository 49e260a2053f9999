//! Counters of this process, as Prometheus reads them.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: from an image that was there already to an hour.
const CONVERSION_SECONDS: [f64; 12] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0];
/// Seconds: the webhook answers within one, Harbor waits for three.
const WEBHOOK_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0];

/// What has become of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerOutcome {
    /// Converted now.
    Converted,
    /// Remembered from before.
    Reused,
    /// Mounted from another repository.
    Mounted,
    /// Left as it was.
    Kept,
}

impl LayerOutcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Reused => "reused",
            Self::Mounted => "mounted",
            Self::Kept => "kept",
        }
    }
}

type ByOutcome = [(&'static str, &'static str); 1];
type ByCode = [(&'static str, u16); 1];

/// The counters of a process. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
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

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut inner = Inner {
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
        inner.register();
        Self(Arc::new(inner))
    }

    /// A conversion has begun: it counts as in flight until the guard is dropped.
    pub fn conversion_started(&self) -> InFlight {
        self.0.in_flight.inc();
        InFlight(self.clone())
    }

    /// A task has ended well after `took`, over all its attempts.
    pub fn conversion_succeeded(&self, took: Duration) {
        self.0.succeeded.inc();
        self.0.duration.observe(took.as_secs_f64());
    }

    /// A task has failed for good after `took`, over all its attempts.
    pub fn conversion_failed(&self, took: Duration) {
        self.0.failed.inc();
        self.0.duration.observe(took.as_secs_f64());
    }

    /// Bytes went through.
    pub fn bytes(&self, read: u64, written: u64) {
        self.0.bytes_read.inc_by(read);
        self.0.bytes_written.inc_by(written);
    }

    /// Layers are finished.
    pub fn layers(&self, outcome: LayerOutcome, count: u64) {
        self.0.layers.get_or_create(&[("outcome", outcome.label())]).inc_by(count);
    }

    /// A webhook request was answered with HTTP status `code`.
    pub fn webhook_answered(&self, code: u16, took: Duration) {
        self.0.requests.get_or_create(&[("code", code)]).inc();
        self.0.request_duration.observe(took.as_secs_f64());
    }

    /// All counters as text, of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).expect("a String takes everything");
        page
    }
}

impl Inner {
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
}

/// A running conversion.
#[derive(Debug)]
#[must_use = "the conversion counts as in flight until this is dropped"]
pub struct InFlight(Metrics);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let metrics = Metrics::new();
        let running = metrics.conversion_started();
        let ended = metrics.conversion_started();
        drop(ended);
        metrics.conversion_succeeded(Duration::from_secs(4));
        metrics.conversion_failed(Duration::from_secs(7200));
        metrics.bytes(10, 7);
        metrics.clone().layers(LayerOutcome::Reused, 3);
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
            "bytes_read_total 10",
            "bytes_written_total 7",
            "layers_total{outcome=\"reused\"} 3",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        drop(running);
        assert!(metrics.render().contains("conversion_inflight_tasks 0"));
    }
}
