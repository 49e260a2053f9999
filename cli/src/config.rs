//! `accelctl config`: checks, migrates and explains the configuration.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use accel_domain::config::{Config, MAX_FILE_BYTES, migrate, reference_markdown, schema};
use accel_runtime::config::{LoadError, load};
use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::exit::{FAILED, Quietly};
use crate::out;
use crate::out::out;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration, and print every fault with its line: `FILE:LINE:COLUMN: KEY: MESSAGE`.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Turn acceld's configuration into one of Accel; what has no counterpart is named on standard error.
    Migrate {
        /// acceld's configuration.
        file: PathBuf,
        /// Write it to this file, which must not be there yet, instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print what every key of the configuration means, in Markdown.
    Docs,
}

/// Runs the command.
pub(crate) fn run(command: ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { file } => check(&file),
        ConfigCommand::Migrate { file, output } => migrate_file(&file, output.as_deref()),
        ConfigCommand::Schema => {
            out!("{}", serde_json::to_string_pretty(&schema())?);
            Ok(())
        }
        ConfigCommand::Docs => {
            out::write_all(reference_markdown().as_bytes());
            Ok(())
        }
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
    out!("{file}: no faults; registries: {hosts}, rules: {rules}");
}

fn migrate_file(file: &Path, output: Option<&Path>) -> anyhow::Result<()> {
    let migrated = migrate(&read(file)?, &file.display().to_string())?;
    match output {
        None => out::write_all(migrated.yaml.as_bytes()),
        Some(output) => write_new(output, migrated.yaml.as_bytes())?,
    }
    for note in migrated.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("{} cannot be read", file.display());
    let mut text = String::new();
    let opened = File::open(file).with_context(unreadable)?;
    opened.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text).with_context(unreadable)?;
    if text.len() > MAX_FILE_BYTES {
        bail!("{} is larger than {MAX_FILE_BYTES} bytes", file.display());
    }
    Ok(text)
}

fn write_new(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unwritable = || format!("{} cannot be written", file.display());
    let mut opened = File::create_new(file).with_context(unwritable)?;
    opened.write_all(bytes).with_context(unwritable)
}
