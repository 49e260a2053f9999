//! `accelctl store`: looks after the embedded store of `accelctl serve`, which must not run meanwhile.

use std::path::{Path, PathBuf};

use accel_domain::Timestamp;
use accel_domain::task::Status;
use accel_tasks::{Embedded, ListQuery, StoreError, TaskStore as _};
use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::out::out;

/// The store's file in the directory that `server.state` names.
pub(crate) const STORE_FILE: &str = "accel.redb";

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Verify every record of a store, and count its tasks.
    Check {
        /// The store's file, or the directory that `server.state` names.
        path: PathBuf,
    },
    /// Set a damaged store aside, and copy what can be read of it into a new one.
    Salvage {
        /// The store's file, or the directory that `server.state` names.
        path: PathBuf,
    },
}

/// Runs the command.
pub(crate) async fn run(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Check { path } => check(&file(&path)?).await,
        StoreCommand::Salvage { path } => salvage(&file(&path)?),
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

async fn check(path: &Path) -> anyhow::Result<()> {
    let store = match Embedded::open(path) {
        Err(error @ StoreError::Damaged { .. }) => {
            let advice = format!("`accelctl store salvage {}` rescues what can be read", path.display());
            return Err(anyhow::Error::new(error).context(advice));
        }
        opened => opened?,
    };
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
            break;
        }
        query.cursor = page.next;
    }
    let [processing, completed, failed] = counts;
    out!("{}: whole, {processing} tasks to do, {completed} completed, {failed} failed", path.display());
    Ok(())
}

fn salvage(path: &Path) -> anyhow::Result<()> {
    let salvaged = Embedded::salvage(path)?;
    out!("{}: {} tasks and {} layer records rescued", path.display(), salvaged.kept, salvaged.layers);
    if salvaged.lost > 0 {
        out!("{} tasks could not be read", salvaged.lost);
    }
    out!("the damaged file is now {}", salvaged.set_aside.display());
    Ok(())
}
