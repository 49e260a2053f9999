//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{completions, config, convert, harbor, inspect, serve, store, task, verify};

/// Turns container images into lazily pullable ones.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage; 3 failed, but may succeed later; 4 compared and different; 5
/// nothing written, since the source is accelerated itself; 130 interrupted; 141 nobody reads the output.
#[derive(Debug, Parser)]
#[command(name = "accelctl", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the webhook and convert what is pushed.
    Serve(serve::ServeArgs),
    /// Convert one image.
    Convert(Box<convert::ConvertArgs>),
    /// Prove that an accelerated image holds what its source does; exit code 4 if it does not.
    Verify(Box<verify::VerifyArgs>),
    /// Show what an image is made of: layers, formats, tables of contents.
    Inspect(Box<inspect::InspectArgs>),
    /// Create, list and steer the tasks of a server.
    Task(task::TaskArgs),
    /// Check and explain the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Set up, or check, a Harbor: webhook policies and the robot account.
    #[command(subcommand)]
    Harbor(harbor::HarborCommand),
    /// Look after the embedded store of a server that does not run.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Write the completions for a shell to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document on standard output.
    Json,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => block_on(serve::run(args)),
            Command::Convert(args) => block_on(convert::run(*args)),
            Command::Verify(args) => block_on(verify::run(*args)),
            Command::Inspect(args) => block_on(inspect::run(*args)),
            Command::Task(args) => block_on(task::run(args)),
            Command::Config(command) => config::run(command),
            Command::Harbor(command) => block_on(harbor::run(command)),
            Command::Store(command) => block_on(store::run(command)),
            Command::Completions { shell } => {
                completions::run(shell);
                Ok(())
            }
        }
    }
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
