//! `accelctl store`: looks after the embedded store of `accelctl serve`, which must not run meanwhile.

use std::path::{Path, PathBuf};

use accel_domain::Timestamp;
use accel_domain::task::Status;
use accel_tasks::embedded::Salvaged;
use accel_tasks::{Embedded, ListQuery, StoreError, TaskStore as _};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;

use crate::args::Format;
use crate::out::{self, out};

/// The store's file in the directory that `server.state` names.
pub(crate) const STORE_FILE: &str = "accel.redb";

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Verify every record of a store, and count its tasks.
    Check {
        /// The store's file, or the directory that `server.state` names.
        path: PathBuf,
        /// How what was found is written.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Set a damaged store aside, and copy what can be read of it into a new one.
    Salvage {
        /// The store's file, or the directory that `server.state` names.
        path: PathBuf,
        /// How what was done is written.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

/// What `store check` found, for programs. The counts are `None` if the store is damaged.
#[derive(Debug, Default, Serialize)]
struct Checked {
    ok: bool,
    path: PathBuf,
    processing: Option<usize>,
    completed: Option<usize>,
    failed: Option<usize>,
    damage: Option<String>,
}

/// What `store salvage` did, for programs.
#[derive(Debug, Serialize)]
struct Rescued<'s> {
    path: &'s Path,
    set_aside: &'s Path,
    tasks: usize,
    tasks_lost: usize,
    layers: usize,
}

/// Runs the command.
pub(crate) async fn run(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Check { path, output } => check(&file(&path)?, output).await,
        StoreCommand::Salvage { path, output } => salvage(&file(&path)?, output),
    }
}

/// The store's file; it has to be there, since opening would make a new one.
fn file(path: &Path) -> anyhow::Result<PathBuf> {
    let path = if path.is_dir() { path.join(STORE_FILE) } else { path.to_owned() };
    if !path.try_exists().with_context(|| format!("{} cannot be read", path.display()))? {
        bail!("there is no store at {}: `server.state` in the configuration says where it is", path.display());
    }
    Ok(path)
}

async fn check(path: &Path, output: Format) -> anyhow::Result<()> {
    let store = match Embedded::open(path) {
        Err(error @ StoreError::Damaged { .. }) => {
            if output == Format::Json {
                let damage = Some(error.to_string());
                out::json(&Checked { path: path.to_owned(), damage, ..Checked::default() })?;
            }
            let advice = format!("`accelctl store salvage {}` rescues what can be read", path.display());
            return Err(anyhow::Error::new(error).context(advice));
        }
        opened => opened?,
    };
    let [processing, completed, failed] = counts(&store).await?;
    match output {
        Format::Json => out::json(&Checked {
            ok: true,
            path: path.to_owned(),
            processing: Some(processing),
            completed: Some(completed),
            failed: Some(failed),
            damage: None,
        })?,
        Format::Text => {
            out!("{}: whole, {processing} tasks to do, {completed} completed, {failed} failed", path.display());
        }
    }
    Ok(())
}

/// The tasks by status: to do, completed, failed.
async fn counts(store: &Embedded) -> anyhow::Result<[usize; 3]> {
    let (mut counts, mut query) = ([0_usize; 3], ListQuery::default());
    loop {
        let page = store.list(&query, Timestamp::now()).await?;
        for task in &page.tasks {
            counts[match Status::from(task.state) {
                Status::Processing => 0,
                Status::Completed => 1,
                Status::Failed => 2,
            }] += 1;
        }
        if page.next.is_none() {
            return Ok(counts);
        }
        query.cursor = page.next;
    }
}

fn salvage(path: &Path, output: Format) -> anyhow::Result<()> {
    let Salvaged { set_aside, kept: tasks, lost: tasks_lost, layers } = Embedded::salvage(path)?;
    if output == Format::Json {
        return out::json(&Rescued { path, set_aside: &set_aside, tasks, tasks_lost, layers });
    }
    out!("{}: {tasks} tasks and {layers} layer records rescued", path.display());
    if tasks_lost > 0 {
        out!("{tasks_lost} tasks could not be read");
    }
    out!("the damaged file is now {}", set_aside.display());
    Ok(())
}
