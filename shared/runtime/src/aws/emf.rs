//! Metrics for CloudWatch: one JSON line for each set of dimensions on standard output, in the embedded metric format
//! (EMF), at the end of an invocation.

use std::io::Write as _;

use ::metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use accel_domain::task::{Phase, State};
use metrics_cloudwatch_embedded::{Builder, Collector};

use crate::metrics::{Counted, Ended, Outlet};

/// The namespace in CloudWatch.
pub const NAMESPACE: &str = "Accel";

/// The recorder of this process is somebody else's.
#[derive(Debug, thiserror::Error)]
#[error("metrics were set up already: {0}")]
pub struct AlreadyMeasuring(String);

/// Writes metrics. One for each process.
#[derive(Clone, Copy)]
pub struct Emf(&'static Collector);

impl Emf {
    /// Starts counting for the function of that name in AWS, which has just started.
    ///
    /// # Errors
    /// It was called before.
    pub fn start(function: String) -> Result<Self, AlreadyMeasuring> {
        let builder = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("FunctionName", function);
        let collector = builder.init().map_err(|error| AlreadyMeasuring(error.to_string()))?;
        describe();
        counter!("ColdStarts").increment(1);
        Ok(Self(collector))
    }

    /// Writes what was counted since the last time.
    pub fn flush(&self, request_id: &str) {
        let mut lines = Vec::new();
        self.0.set_property("request.id", request_id);
        let written = self.0.flush(&mut lines).and_then(|()| {
            let mut out = std::io::stdout().lock();
            out.write_all(&lines)?;
            out.flush()
        });
        if let Err(error) = written {
            tracing::warn!(%error, "metrics could not be written");
        }
    }
}

impl Outlet for Emf {
    fn count(&self, counted: &Counted) {
        match counted {
            Counted::Ended(ended) => count_ended(ended),
            Counted::Phase(phase, took) => {
                histogram!("PhaseDuration", "Phase" => phase_name(*phase)).record(took.as_secs_f64() * 1000.0);
            }
            Counted::Waited(took) => histogram!("QueueAge").record(took.as_secs_f64() * 1000.0),
            Counted::PutOff => counter!("MessagesPutOff").increment(1),
            Counted::Answered(code, took) => {
                counter!("WebhookRequests", "Status" => code.to_string()).increment(1);
                histogram!("WebhookDuration", "Status" => code.to_string()).record(took.as_secs_f64() * 1000.0);
            }
            // What runs now is known to Lambda.
            Counted::Started | Counted::Stopped => {}
        }
    }
}

fn count_ended(ended: &Ended) {
    let (format, outcome) = (ended.format.name(), outcome(ended.state));
    counter!("Conversions", "Format" => format, "Outcome" => outcome).increment(1);
    let milliseconds = ended.took.as_secs_f64() * 1000.0;
    histogram!("ConversionDuration", "Format" => format, "Outcome" => outcome).record(milliseconds);
    counter!("BytesRead", "Format" => format).increment(ended.progress.bytes_read);
    counter!("BytesWritten", "Format" => format).increment(ended.progress.bytes_written);
    for (layer, count) in ended.layers() {
        counter!("Layers", "Layer" => layer).increment(count);
    }
}

fn describe() {
    for (name, unit) in [
        ("ColdStarts", Unit::Count),
        ("Conversions", Unit::Count),
        ("BytesRead", Unit::Bytes),
        ("BytesWritten", Unit::Bytes),
        ("Layers", Unit::Count),
        ("MessagesPutOff", Unit::Count),
        ("WebhookRequests", Unit::Count),
    ] {
        describe_counter!(name, unit, "");
    }
    for name in ["ConversionDuration", "PhaseDuration", "QueueAge", "WebhookDuration"] {
        describe_histogram!(name, Unit::Milliseconds, "");
    }
}

const fn outcome(state: State) -> &'static str {
    match state {
        State::Completed => "completed",
        State::Superseded => "superseded",
        State::AlreadyAccelerated => "already accelerated",
        State::Joined => "joined",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        State::Queued | State::Running | State::FannedOut => "unfinished",
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Resolve => "resolve",
        Phase::Convert => "convert",
        Phase::Push => "push",
        Phase::Tag => "tag",
        Phase::Done => "done",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use accel_domain::Format;
    use accel_domain::task::Progress;
    use serde_json::Value;

    use super::*;
    use crate::Metrics;

    fn flushed(emf: Emf) -> Vec<Value> {
        let mut lines = Vec::new();
        emf.0.set_property("request.id", "r1");
        emf.0.flush(&mut lines).unwrap();
        let text = String::from_utf8(lines).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn directive(line: &Value) -> &Value {
        &line["_aws"]["CloudWatchMetrics"][0]
    }

    /// One test, since a process has one recorder.
    #[test]
    fn what_is_counted_becomes_lines_that_cloudwatch_reads() {
        let emf = Emf::start("converter".to_owned()).unwrap();
        let metrics = Metrics::with(vec![std::sync::Arc::new(emf)]);
        let progress = Progress { layers_reused: 2, bytes_read: 10, bytes_written: 7, ..Progress::default() };
        for state in [State::Completed, State::Completed, State::Failed] {
            let took = Duration::from_millis(1500);
            metrics.conversion_ended(Ended { format: Format::Estargz, state, took, progress });
        }
        metrics.phase_took(Phase::Convert, Duration::from_millis(20));
        metrics.message_waited(Duration::from_secs(2));
        metrics.message_put_off();
        metrics.message_put_off();
        metrics.webhook_answered(401, Duration::from_millis(3));
        let lines = flushed(emf);
        for line in &lines {
            assert!(line["_aws"]["Timestamp"].is_u64(), "{line}");
            assert_eq!((&directive(line)["Namespace"], &line["FunctionName"]), (&"Accel".into(), &"converter".into()));
            assert_eq!(line["request.id"], "r1");
            for dimension in directive(line)["Dimensions"][0].as_array().unwrap() {
                assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension} of {line}");
            }
            for metric in directive(line)["Metrics"].as_array().unwrap() {
                assert!(!line[metric["Name"].as_str().unwrap()].is_null() && metric["Unit"].is_string(), "{line}");
            }
        }
        let find = |name: &str, dimension: &str, value: &str| {
            let line = lines.iter().find(|line| line[dimension] == value && !line[name].is_null());
            line.unwrap_or_else(|| panic!("{name} {dimension}={value} in {lines:?}"))[name].clone()
        };
        assert_eq!(find("Conversions", "Outcome", "completed"), 2);
        assert_eq!(find("Conversions", "Outcome", "failed"), 1);
        assert_eq!(find("BytesRead", "Format", "estargz"), 30);
        assert_eq!(find("Layers", "Layer", "reused"), 6);
        assert_eq!(find("MessagesPutOff", "FunctionName", "converter"), 2);
        assert_eq!(find("WebhookRequests", "Status", "401"), 1);
        for (name, dimension, value, expected) in [
            ("PhaseDuration", "Phase", "convert", 20.0),
            ("QueueAge", "FunctionName", "converter", 2000.0),
            ("WebhookDuration", "Status", "401", 3.0),
        ] {
            let found = find(name, dimension, value);
            let found = found.as_f64().or_else(|| found[0].as_f64());
            assert_eq!(found, Some(expected), "{name}");
        }
        assert_eq!(find("ColdStarts", "FunctionName", "converter"), 1);
        assert!(flushed(emf).is_empty(), "each is written once");
        assert!(Emf::start("converter".to_owned()).is_err());
    }
}
