//! `task create`: asks for a conversion and, with `--sync`, waits for its end.

use std::time::Duration;

use accel_domain::TaskId;
use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::row::Row;
use crate::api::{Api, End};
use crate::out::{out, plain};

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
}

/// Runs the command.
pub(super) async fn run(api: &Api, args: CreateArgs) -> anyhow::Result<()> {
    if !args.sync {
        let created = api.create(&args.source, false).await?;
        return told(&args.source, &created.ids);
    }
    let bar = bar(&args.source);
    let created = api.create(&args.source, true).await;
    bar.finish_and_clear();
    let created = created?;
    told(&args.source, &created.ids)?;
    match created.end {
        End::Done => {}
        End::Failed(reason) => bail!("the conversion of {} failed: {}", plain(&args.source), plain(&reason)),
        End::Unfinished => wait(api, &args.source, &created.ids).await?,
    }
    eprintln!("Task has been completed.");
    Ok(())
}

/// The ids are the product of the command.
fn told(source: &str, ids: &[TaskId]) -> anyhow::Result<()> {
    if ids.is_empty() {
        bail!("no rule of the server is for {}: nothing is converted", plain(source));
    }
    ids.iter().for_each(|id| out!("{id}"));
    Ok(())
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
