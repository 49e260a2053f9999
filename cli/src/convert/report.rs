//! What `convert` reports, for people and for programs.

use accel_image::Digest;
use accel_pipeline::{ConvertedImage, LayerReport, Origin, Outcome};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::bars::{short, word};
use crate::out::{out, plain};
use crate::phases::Phases;
use crate::place::Place;
use crate::show;

/// The outcome where the target was there before.
const ALREADY: &str = "already accelerated";

/// What `convert` reports.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    outcome: &'static str,
    source: String,
    target: String,
    source_digest: Option<Digest>,
    target_digest: Option<Digest>,
    /// Of a source that is a result of Accel's itself: what it was made of.
    origin: Option<Origin>,
    source_size: u64,
    target_size: u64,
    platforms: usize,
    layers: LayerCounts,
    bytes_read: u64,
    bytes_written: u64,
    details: Vec<LayerLine>,
    kept: Vec<KeptLine>,
    /// In the order in which they began.
    phases_ms: Map<String, Value>,
    total_ms: u64,
}

/// Distinct layers of the source, by what became of them.
#[derive(Debug, Serialize)]
struct LayerCounts {
    total: u32,
    converted: u32,
    reused: u32,
    mounted: u32,
    kept: u32,
}

#[derive(Debug, Serialize)]
struct LayerLine {
    digest: Digest,
    size: u64,
    target_digest: Digest,
    target_size: u64,
    end: &'static str,
}

#[derive(Debug, Serialize)]
struct KeptLine {
    digest: Digest,
    reason: String,
}

impl Report {
    /// The report of a conversion that ended as `outcome`.
    pub(super) fn new(source: &Place, target: &Place, phases: &Phases<'_>, outcome: Outcome) -> Self {
        let progress = phases.tally.seen().1;
        let mut report = Self {
            outcome: ALREADY,
            source: source.to_string(),
            target: target.to_string(),
            source_digest: None,
            target_digest: None,
            origin: None,
            source_size: 0,
            target_size: 0,
            platforms: 0,
            layers: LayerCounts {
                total: progress.layers_total,
                converted: progress.layers_converted,
                reused: progress.layers_reused,
                mounted: progress.layers_mounted,
                kept: progress.layers_kept,
            },
            bytes_read: progress.bytes_read,
            bytes_written: progress.bytes_written,
            details: Vec::new(),
            kept: Vec::new(),
            phases_ms: Map::new(),
            total_ms: 0,
        };
        report.add_times(phases);
        match outcome {
            Outcome::Converted(image) => report.add_image(*image),
            Outcome::AlreadyThere { source_digest, target_digest } => {
                report.source_digest = Some(source_digest);
                report.target_digest = Some(target_digest);
            }
            Outcome::AlreadyAccelerated(marker) => report.origin = Some(marker.into()),
            Outcome::Superseded { .. } => report.outcome = "superseded",
            Outcome::NotAnImage(_) => report.outcome = "not an image",
        }
        report
    }

    /// A phase may begin again, as when a layer has to be done once more.
    fn add_times(&mut self, phases: &Phases<'_>) {
        for (phase, ms) in phases.elapsed_ms() {
            let ms = u64::try_from(ms).unwrap_or(u64::MAX);
            let sum = self.phases_ms.entry(format!("{phase:?}").to_lowercase()).or_insert_with(|| 0.into());
            *sum = Value::from(sum.as_u64().unwrap_or_default() + ms);
            self.total_ms += ms;
        }
    }

    fn add_image(&mut self, image: ConvertedImage) {
        self.outcome = "converted";
        self.source_digest = Some(image.source_digest);
        self.target_digest = Some(image.target_digest());
        (self.source_size, self.target_size) = (image.sizes.source, image.sizes.target);
        self.platforms = image.platforms;
        for LayerReport { source, target, end, reason, .. } in image.layers {
            if !reason.is_empty() {
                self.kept.push(KeptLine { digest: source.digest, reason });
            }
            self.details.push(LayerLine {
                digest: source.digest,
                size: source.size,
                target_digest: target.digest,
                target_size: target.size,
                end: word(end),
            });
        }
    }

    /// Writes it for people, if there is a target.
    pub(super) fn print(&self) {
        let (Some(source), Some(target)) = (self.source_digest, self.target_digest) else { return };
        out!("{} -> {}", self.source, self.target);
        if self.outcome == ALREADY {
            out!("  source  {source}");
            out!("  target  {target}");
            out!("already accelerated: nothing was to be done");
            return;
        }
        out!("  source  {:>11}  {source}", show::size(self.source_size));
        out!("  target  {:>11}  {target}", show::size(self.target_size));
        let LayerCounts { total, converted, reused, mounted, kept } = self.layers;
        out!("  layers  {total}: {converted} converted, {reused} reused, {mounted} mounted, {kept} kept");
        for layer in &self.details {
            let (size, target_size) = (show::size(layer.size), show::size(layer.target_size));
            out!("    {}  {size:>11} -> {target_size:>11}  {}", short(layer.digest), layer.end);
        }
        for kept in &self.kept {
            out!("    {} was kept: {}", short(kept.digest), plain(&kept.reason));
        }
        let time = |(phase, ms): (&String, &Value)| {
            let ms = ms.as_u64().unwrap_or_default();
            format!("{phase} {}", show::time(ms.into()))
        };
        let times: Vec<String> = self.phases_ms.iter().map(time).collect();
        out!("  time    {} ({})", show::time(self.total_ms.into()), times.join(", "));
    }
}
