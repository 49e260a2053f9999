//! `task create`: asks for a conversion and, with `--sync`, waits for its end.

use std::time::Duration;

use accel_domain::TaskId;
use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use super::row::Row;
use crate::api::{Api, ApiError, Created, End};
use crate::args::Format;
use crate::out::{self, out, plain};

const FIRST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Options of `task create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The image: HOST/REPOSITORY:TAG, of a registry that the server knows.
    source: String,
    /// Wait until it is converted; fails if that fails.
    #[arg(long)]
    sync: bool,
    /// How the tasks are written.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What `task create` did, for programs.
#[derive(Debug, Serialize)]
struct Report<'c> {
    source: &'c str,
    ids: &'c [TaskId],
    /// As they ended, with `--sync`.
    tasks: Option<&'c [Value]>,
}

/// Runs the command.
pub(super) async fn run(api: &Api, args: CreateArgs) -> anyhow::Result<()> {
    let Created { ids, end } = ask(api, &args).await?;
    if args.output == Format::Text {
        ids.iter().for_each(|id| out!("{id}")); // before it is waited for: they are the product of the command
    }
    let ended = settled(api, &args, &ids, end).await;
    if args.output == Format::Json {
        let tasks = if args.sync { Some(shown(api, &ids).await) } else { None };
        let seen = tasks.as_ref().and_then(|tasks| tasks.as_deref().ok());
        out::json(&Report { source: &args.source, ids: &ids, tasks: seen })?;
        ended?;
        tasks.transpose()?;
    } else {
        ended?;
    }
    if args.sync {
        eprintln!("Task has been completed.");
    }
    Ok(())
}

async fn ask(api: &Api, args: &CreateArgs) -> Result<Created, ApiError> {
    if !args.sync {
        return api.create(&args.source, false).await;
    }
    let bar = bar(&args.source);
    let created = api.create(&args.source, true).await;
    bar.finish_and_clear();
    created
}

/// Waits for the end, if that was asked for. A task that failed is an error.
async fn settled(api: &Api, args: &CreateArgs, ids: &[TaskId], end: End) -> anyhow::Result<()> {
    if ids.is_empty() {
        bail!("no rule of the server is for {}: nothing is converted", plain(&args.source));
    }
    match end {
        End::Failed(reason) => bail!("the conversion of {} failed: {}", plain(&args.source), plain(&reason)),
        End::Unfinished if args.sync => wait(api, &args.source, ids).await,
        End::Done | End::Unfinished => Ok(()),
    }
}

/// The tasks as they are now.
async fn shown(api: &Api, ids: &[TaskId]) -> Result<Vec<Value>, ApiError> {
    let mut tasks = Vec::new();
    for id in ids {
        tasks.push(api.get(id).await?);
    }
    Ok(tasks)
}

/// The server has waited as long as its front door allows: from here on it is asked.
async fn wait(api: &Api, source: &str, ids: &[TaskId]) -> anyhow::Result<()> {
    let bar = bar(source);
    let mut failure = None;
    for id in ids {
        let row = ended(api, id, &bar).await?;
        if row.has_failed() {
            failure = failure.or(Some(row.reason));
        }
    }
    bar.finish_and_clear();
    match failure {
        Some(reason) => bail!("the conversion of {} failed: {}", plain(source), plain(&reason)),
        None => Ok(()),
    }
}

async fn ended(api: &Api, id: &TaskId, bar: &ProgressBar) -> anyhow::Result<Row> {
    let mut pause = FIRST_LOOK;
    loop {
        let row = Row::of(api.get(id).await?);
        if row.has_ended() {
            return Ok(row);
        }
        bar.set_message(format!("{} {:.0}%", plain(&row.phase), row.progress * 100.0));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A sign of life on standard error, where that is a terminal.
fn bar(source: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(plain(source));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
