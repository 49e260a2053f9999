//! What the log says of a task: one line at its end with everything in it, one for each attempt that failed.

use std::time::Duration;

use accel_domain::ErrorClass;
use accel_domain::task::{Status, Task, Unit};
use accel_image::Digest;
use accel_runtime::Metrics;
use accel_runtime::metrics::Ended;
use tracing::{info, warn};

use crate::run::RunError;

/// The longest reason that a task keeps.
const REASON_CHARS: usize = 1000;

/// The error and its causes in one line, as the task shows it.
pub(crate) fn reason(error: &RunError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.chars().take(REASON_CHARS).collect()
}

pub(crate) fn failed_attempt(task: &Task, error: &RunError) {
    let (class, attempts) = (class(error), task.work.attempts);
    warn!(error.class = class, attempts, reason = %reason(error), "attempt did not succeed");
}

pub(crate) fn failed_layer(unit: &Unit, error: &RunError) {
    let (class, attempts) = (class(error), unit.work.attempts);
    warn!(error.class = class, attempts, reason = %reason(error), "layer did not succeed");
}

fn class(error: &RunError) -> &'static str {
    match error.class() {
        ErrorClass::Transient(_) => "transient",
        ErrorClass::Permanent => "permanent",
        ErrorClass::Interrupted => "interrupted",
    }
}

/// Counts a task that has ended.
pub(crate) fn measured(task: &Task, metrics: &Metrics) {
    let took =
        task.finished.and_then(|at| Duration::try_from(at.duration_since(task.created)).ok()).unwrap_or_default();
    let format = task.output.options.format();
    metrics.conversion_ended(Ended { format, state: task.state, took, progress: task.progress });
}

/// The summary of a task that has ended.
pub(crate) fn ended(task: &Task) {
    let status = Status::from(task.state);
    let elapsed = task.finished.map_or(0.0, |at| at.duration_since(task.created).as_secs_f64());
    let progress = task.progress;
    info!(
        task.id = %task.id,
        image.source = %task.written,
        image.target = %task.target,
        format = %task.output.options.format(),
        status = %status,
        reason = %task.reason,
        source_digest = task.digest.map(tracing::field::display::<Digest>),
        target_digest = task.target_digest.map(tracing::field::display::<Digest>),
        source_size_bytes = task.sizes.source,
        target_size_bytes = task.sizes.target,
        layers_converted = progress.layers_converted,
        layers_reused = progress.layers_reused,
        layers_mounted = progress.layers_mounted,
        layers_kept = progress.layers_kept,
        bytes_read = progress.bytes_read,
        bytes_written = progress.bytes_written,
        attempts = task.work.attempts,
        elapsed_s = elapsed,
        "task ended"
    );
}
