//! `accelctl convert`: one image, from and to wherever it is.

mod options;
mod report;

use std::pin::Pin;
use std::time::Duration;

use accel_domain::{ErrorClass, Timestamp};
use accel_pipeline::{
    ConvertError, Engine, Event, Job, Observer as _, Outcome, Stop, StopReason, Tagged, convert_image, move_tag,
};
use clap::Args;

use crate::args;
use crate::bars::Bars;
use crate::connect::{ConnectArgs, finish};
use crate::exit::{INTERRUPTED, Quietly, WrongUsage};
use crate::out::{self, plain};
use crate::phases::Phases;
use crate::place::Place;
use crate::records::Records;
use options::MadeArgs;
use report::Report;

/// How long an interrupted conversion may take to stop in order.
const STOPPING_TIME: Duration = Duration::from_secs(3);

/// Options of `convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The image: HOST/REPOSITORY:TAG, oci:DIR:TAG or oci-archive:FILE:TAG.
    source: Place,
    /// Where the result goes; the source's tag with a suffix (`-esgz`, `-nydus`) beside it if not given.
    target: Option<Place>,
    #[command(flatten)]
    made: MadeArgs,
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

/// Converts, and writes the report.
pub(crate) async fn run(args: ConvertArgs) -> anyhow::Result<()> {
    let target = match &args.target {
        Some(target) => target.clone(),
        None => args.source.beside(args.made.format.tag_suffix())?,
    };
    if args.source == target {
        return Err(WrongUsage(format!("{target} is the source itself: name another target")).into());
    }
    if args.source.is_same_archive(&target) {
        let reason = format!("{target} is written anew and cannot be read meanwhile: name another archive");
        return Err(WrongUsage(reason).into());
    }
    let output = args.made.output()?;
    let dictionary = args.made.chunk_dictionary.clone().map(Place::Registry);
    let places: Vec<&Place> = [&args.source, &target].into_iter().chain(&dictionary).collect();
    let ends = args.connect.open(&places).await?;
    let dictionary = match &dictionary {
        Some(place) => Some(ends.source(place).await?),
        None => None,
    };
    let job = Job {
        source: ends.source(&args.source).await?,
        source_key: args.source.key(),
        source_name: args.source.identity(),
        digest: None,
        target: ends.target(&target).await?,
        target_key: target.key(),
        dictionary,
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
    bars.clear();
    let made_of = match &done {
        Outcome::AlreadyAccelerated(marker) => Some(plain(&marker.source)),
        Outcome::Converted(_) | Outcome::AlreadyThere { .. } | Outcome::Superseded { .. } | Outcome::NotAnImage(_) => {
            None
        }
    };
    let report = Report::new(&args.source, &target, &phases, done);
    match args.output {
        args::Format::Json => out::json(&report)?,
        args::Format::Text if made_of.is_none() => report.print(),
        args::Format::Text => {}
    }
    match made_of {
        Some(made_of) => Err(NotWritten { image: args.source, made_of, target }.into()),
        None => Ok(()),
    }
}

/// The source is a result of Accel's: there is nothing to convert, and no target.
#[derive(Debug, thiserror::Error)]
#[error("nothing was written to {target}: {image} was itself made by Accel, of {made_of}")]
pub(crate) struct NotWritten {
    /// The image that was to be converted.
    image: Place,
    /// What its marker names.
    made_of: String,
    target: Place,
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
    match &outcome {
        Outcome::NotAnImage(media_type) => {
            let reason = format!("the source is no container image, but `{media_type}`");
            Err(ConvertError::Unsupported(reason).into())
        }
        Outcome::Superseded { .. } => Err(Moved.into()),
        Outcome::Converted(_) | Outcome::AlreadyThere { .. } | Outcome::AlreadyAccelerated(_) => Ok(outcome),
    }
}
