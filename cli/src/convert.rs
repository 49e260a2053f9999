//! `accelctl convert`: one image, from and to wherever it is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use accel_domain::{Attestations, ByteSize, ErrorClass, Format, FormatOptions, Output, Timestamp};
use accel_image::{Digest, Platform};
use accel_pipeline::{
    ConvertError, Engine, Event, Job, Observer as _, Outcome, Stop, StopReason, Tagged, convert_image, move_tag,
};
use clap::Args;
use serde::Serialize;

use crate::args;
use crate::bars::{Bars, short, word};
use crate::connect::{ConnectArgs, finish};
use crate::exit::{INTERRUPTED, Quietly, WrongUsage};
use crate::out::out;
use crate::phases::Phases;
use crate::place::Place;
use crate::records::Records;
use crate::show;

/// How long an interrupted conversion may take to stop in order.
const STOPPING_TIME: Duration = Duration::from_secs(3);

/// Options of `convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The image: HOST/REPOSITORY:TAG, oci:DIR:TAG or oci-archive:FILE:TAG.
    source: Place,
    /// Where the result goes; the source's tag with a suffix (`-esgz`) beside it if not given.
    target: Option<Place>,
    /// The format to make.
    #[arg(long, default_value = "estargz")]
    format: Format,
    /// Convert only this platform (os/arch or os/arch/variant); may be repeated.
    #[arg(long)]
    platform: Vec<Platform>,
    /// Compression level, 1 to 12.
    #[arg(long)]
    level: Option<u8>,
    /// The longest chunk, up to 4MiB.
    #[arg(long)]
    chunk_size: Option<ByteSize>,
    /// Let small files share a compressed member until it holds so many bytes.
    #[arg(long)]
    min_chunk_size: Option<ByteSize>,
    /// A file (or a glob) that is fetched when a container starts; may be repeated.
    #[arg(long, value_name = "PATH")]
    prefetch: Vec<String>,
    /// Keep BuildKit's attestations, their reference corrected.
    #[arg(long)]
    carry_attestations: bool,
    /// Let the result refer to its source (`subject`), so that registries list it beside it.
    #[arg(long)]
    subject: bool,
    /// Replace the target even if it was not made by Accel from this source.
    #[arg(long)]
    adopt: bool,
    /// Do not use, and do not keep, records of layers that were converted before.
    #[arg(long)]
    no_cache: bool,
    /// Compression threads; as many as there are cores if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    output: args::Format,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What `convert` reports.
#[derive(Debug, Serialize)]
struct Report {
    outcome: &'static str,
    source: String,
    target: String,
    source_digest: Option<Digest>,
    target_digest: Option<Digest>,
    source_size: u64,
    target_size: u64,
    platforms: usize,
    layers: LayerCounts,
    bytes_read: u64,
    bytes_written: u64,
    details: Vec<LayerLine>,
    kept: Vec<KeptLine>,
    phases_ms: BTreeMap<String, u64>,
    total_ms: u64,
}

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

/// Converts, and writes the report.
pub(crate) async fn run(args: ConvertArgs) -> anyhow::Result<()> {
    let target = match &args.target {
        Some(target) => target.clone(),
        None => args.source.beside(args.format.tag_suffix())?,
    };
    if args.source.is_same_archive(&target) {
        let reason = format!("{target} is written anew and cannot be read meanwhile: name another archive");
        return Err(WrongUsage(reason).into());
    }
    let ends = args.connect.open(&[&args.source, &target]).await?;
    let output = args.made()?;
    let job = Job {
        source: ends.source(&args.source).await?,
        source_key: args.source.key(),
        source_name: args.source.identity(),
        digest: None,
        target: ends.target(&target).await?,
        target_key: target.key(),
        rule_hash: output.rule_hash(&target.identity()),
        output,
        limits: ends.limits(&args.source),
    };
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let engine = Engine::new(threads);
    let records = if args.no_cache { Records::none() } else { Records::of_user() };
    let bars = Bars::new(args.output == args::Format::Text);
    let phases = Phases::new(&bars);
    let stop = Stop::new();
    // Boxed: it is large, and there is one of it.
    let converting = Box::pin(convert_and_tag(&engine, &records, &job, &phases, &stop));
    let done = unless_interrupted(converting, &stop).await?;
    let report = report(&args.source, &target, &phases, done);
    match args.output {
        args::Format::Json => out!("{}", serde_json::to_string_pretty(&report)?),
        args::Format::Text => print_report(&report),
    }
    Ok(())
}

/// The source tag was moved by somebody else meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("the source tag moved while it was converted: run the command again")]
pub(crate) struct Moved;

impl Moved {
    pub(crate) const fn class(&self) -> ErrorClass {
        ErrorClass::BACKOFF
    }
}

/// Lets a signal stop the conversion: in order, so that its uploads are cancelled, as long as that takes no time that a
/// person notices; then, or at the next signal, at once.
async fn unless_interrupted(
    mut converting: Pin<Box<impl Future<Output = anyhow::Result<Outcome>>>>,
    stop: &Stop,
) -> anyhow::Result<Outcome> {
    tokio::select! {
        done = &mut converting => return done,
        () = interrupted() => stop.stop(StopReason::Shutdown),
    }
    tokio::select! {
        done = converting => done,
        () = interrupted() => Err(Quietly(INTERRUPTED).into()),
        () = tokio::time::sleep(STOPPING_TIME) => Err(Quietly(INTERRUPTED).into()),
    }
}

/// SIGINT, or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        // Without a handler of ours the signal ends the process, which is what it is for.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

/// Converts; a result is complete, tag and all, when this returns.
async fn convert_and_tag(
    engine: &Engine,
    records: &Records,
    job: &Job,
    phases: &Phases<'_>,
    stop: &Stop,
) -> anyhow::Result<Outcome> {
    let outcome = convert_image(engine, records, job, phases, stop.signal(), Timestamp::now).await?;
    if let Outcome::Converted(image) = &outcome {
        phases.event(&Event::Phase(accel_domain::task::Phase::Tag));
        if let Tagged::Superseded { .. } = move_tag(job, image).await? {
            return Err(Moved.into());
        }
        finish(&job.target).await?;
    }
    if let Outcome::NotAnImage(media_type) = &outcome {
        return Err(ConvertError::Unsupported(format!("the source is no container image, but `{media_type}`")).into());
    }
    Ok(outcome)
}

impl ConvertArgs {
    /// What is made of the source.
    fn made(&self) -> anyhow::Result<Output> {
        let mut options = self.format.default_options();
        let FormatOptions::Estargz(own) = &mut options;
        own.level = self.level.unwrap_or(own.level);
        own.chunk_size = self.chunk_size.unwrap_or(own.chunk_size);
        own.min_chunk_size = self.min_chunk_size.unwrap_or(own.min_chunk_size);
        own.prefetch.clone_from(&self.prefetch);
        own.check().map_err(|(key, reason)| WrongUsage(format!("--{}: {reason}", key.replace('_', "-"))))?;
        Ok(Output {
            platforms: self.platform.clone(),
            attestations: if self.carry_attestations { Attestations::Carry } else { Attestations::Drop },
            subject: self.subject,
            adopt: self.adopt,
            ..Output::new(options)
        })
    }
}

fn report(source: &Place, target: &Place, phases: &Phases<'_>, outcome: Outcome) -> Report {
    let progress = phases.tally.seen().1;
    let times = phases.elapsed_ms();
    let mut report = Report {
        outcome: "already accelerated",
        source: source.to_string(),
        target: target.to_string(),
        source_digest: None,
        target_digest: None,
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
        total_ms: times.iter().map(|(_, ms)| *ms as u64).sum(),
        phases_ms: times.into_iter().map(|(phase, ms)| (format!("{phase:?}").to_lowercase(), ms as u64)).collect(),
    };
    match outcome {
        Outcome::Converted(image) => {
            report.outcome = "converted";
            report.source_digest = Some(image.source_digest);
            report.target_digest = Some(image.target_digest());
            (report.source_size, report.target_size) = (image.sizes.source, image.sizes.target);
            report.platforms = image.platforms;
            for layer in image.layers {
                let (digest, end) = (layer.source.digest, word(layer.end));
                report.details.push(LayerLine {
                    digest,
                    size: layer.source.size,
                    target_digest: layer.target.digest,
                    target_size: layer.target.size,
                    end,
                });
                if !layer.reason.is_empty() {
                    report.kept.push(KeptLine { digest, reason: layer.reason });
                }
            }
        }
        Outcome::AlreadyAccelerated { target_digest } => report.target_digest = target_digest,
        Outcome::NotAnImage(_) => report.outcome = "not an image",
    }
    report
}

fn print_report(report: &Report) {
    out!("{} -> {}", report.source, report.target);
    if report.outcome != "converted" {
        match report.target_digest {
            Some(_) => out!("already accelerated: nothing to do"),
            None => out!("the source is an accelerated image itself: nothing was written"),
        }
        return;
    }
    let digest = |digest: Option<Digest>| digest.map(|d| d.to_string()).unwrap_or_default();
    out!("  source  {:>11}  {}", show::size(report.source_size), digest(report.source_digest));
    out!("  target  {:>11}  {}", show::size(report.target_size), digest(report.target_digest));
    let LayerCounts { total, converted, reused, mounted, kept } = report.layers;
    out!("  layers  {total}: {converted} converted, {reused} reused, {mounted} mounted, {kept} kept");
    for layer in &report.details {
        out!(
            "    {}  {:>11} -> {:>11}  {}",
            short(layer.digest),
            show::size(layer.size),
            show::size(layer.target_size),
            layer.end
        );
    }
    for kept in &report.kept {
        out!("    {} was kept: {}", short(kept.digest), kept.reason);
    }
    let times: Vec<String> =
        report.phases_ms.iter().map(|(phase, ms)| format!("{phase} {}", show::time(u128::from(*ms)))).collect();
    out!("  time    {} ({})", show::time(u128::from(report.total_ms)), times.join(", "));
}
