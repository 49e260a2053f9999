//! `accelctl config`: checks and explains the configuration.

use std::path::{Path, PathBuf};

use accel_domain::config::Config;
use accel_runtime::config::{LoadError, load};
use clap::Subcommand;

use crate::exit::{FAILED, Quietly};
use crate::out::out;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration, and print every fault with its line: `FILE:LINE:COLUMN: KEY: MESSAGE`.
    Check {
        /// The configuration.
        file: PathBuf,
    },
}

/// Runs the command.
pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { file } => check(&file),
    }
}

/// Faults are the product of this command, so they go to standard output.
fn check(file: &Path) -> anyhow::Result<()> {
    match load(Some(file)) {
        Ok(config) => {
            tell(file, &config);
            Ok(())
        }
        Err(LoadError::Faulty(faults)) => {
            out!("{faults}");
            Err(Quietly(FAILED).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn tell(file: &Path, config: &Config) {
    let file = file.display();
    for warning in config.warnings() {
        out!("{file}: warning: {warning}");
    }
    if let Err(none) = config.required_rules() {
        out!("{file}: warning: {none}");
    }
    let (hosts, rules) = (config.hosts().count(), config.rules.len());
    out!("{file}: no faults; {hosts} registries, {rules} rules");
}
