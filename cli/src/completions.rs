//! `accelctl completions`: what a shell needs to complete commands and options.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::out;

/// Writes the completions for `shell`.
pub(crate) fn run(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "accelctl", &mut script);
    out::write_all(&script);
}
