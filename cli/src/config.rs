//! `accelctl config`: checks, migrates and explains the configuration.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use accel_domain::config::{Config, Fault, MAX_FILE_BYTES, migrate, reference_markdown, schema};
use accel_runtime::config::{LoadError, load};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;

use crate::args::Format;
use crate::exit::{FAILED, Quietly};
use crate::out;
use crate::out::out;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration, and print every fault with its line: `FILE:LINE:COLUMN: KEY: MESSAGE`.
    Check {
        /// The configuration.
        file: PathBuf,
        /// How what was found is written.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
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
        ConfigCommand::Check { file, output } => check(&file, output),
        ConfigCommand::Migrate { file, output } => migrate_file(&file, output.as_deref()),
        ConfigCommand::Schema => out::json(&schema()),
        ConfigCommand::Docs => {
            out::write_all(reference_markdown().as_bytes());
            Ok(())
        }
    }
}

/// What `config check` found, for programs.
#[derive(Debug, Default, Serialize)]
struct Checked<'c> {
    ok: bool,
    file: String,
    faults: &'c [Fault],
    warnings: Vec<String>,
    /// How many there are; `None` with faults.
    registries: Option<usize>,
    rules: Option<usize>,
}

/// Faults are the product of this command, so they go to standard output.
fn check(file: &Path, output: Format) -> anyhow::Result<()> {
    let name = file.display().to_string();
    match load(Some(file)) {
        Ok(config) => tell(&Checked::of(name, &config), output),
        Err(LoadError::Faulty(found)) => {
            match output {
                Format::Json => out::json(&Checked { file: name, faults: found.faults(), ..Checked::default() })?,
                Format::Text => out!("{found}"),
            }
            Err(Quietly(FAILED).into())
        }
        Err(error) => Err(error.into()),
    }
}

impl Checked<'_> {
    fn of(file: String, config: &Config) -> Self {
        let mut warnings = config.warnings();
        warnings.extend(config.required_rules().err().map(|none| none.to_string()));
        let (registries, rules) = (Some(config.hosts().count()), Some(config.rules.len()));
        Self { ok: true, file, faults: &[], warnings, registries, rules }
    }
}

fn tell(checked: &Checked<'_>, output: Format) -> anyhow::Result<()> {
    if output == Format::Json {
        return out::json(checked);
    }
    let file = &checked.file;
    for warning in &checked.warnings {
        out!("{file}: warning: {warning}");
    }
    let (hosts, rules) = (checked.registries.unwrap_or_default(), checked.rules.unwrap_or_default());
    out!("{file}: no faults; registries: {hosts}, rules: {rules}");
    Ok(())
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
