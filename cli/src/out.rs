//! Standard output: the product of a command.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::exit;

/// Writes a line to standard output, as `println!` does. A reader that has gone away (`accelctl … | head`) ends the
/// process quietly.
macro_rules! out {
    () => { $crate::out::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use out;

/// Writes to standard output.
pub(crate) fn write(text: fmt::Arguments<'_>) {
    settle(io::stdout().lock().write_fmt(text));
}

/// Writes one JSON document to standard output, for programs.
pub(crate) fn json(document: &impl Serialize) -> anyhow::Result<()> {
    write(format_args!("{}\n", serde_json::to_string_pretty(document)?));
    Ok(())
}

/// Writes to standard output what no terminal has to show line by line.
pub(crate) fn write_all(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    settle(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// What cannot be written ends the process: with the code of SIGPIPE, which ends other tools here, if the reader has
/// gone away.
fn settle(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(exit::PIPE_CLOSED.into()),
        Err(error) => {
            eprintln!("error: standard output cannot be written: {error}");
            std::process::exit(exit::FAILED.into());
        }
    }
}

/// `text` without control characters, which could command a terminal, and without line ends.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_cannot_command_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{9b}d"), "a [2Jb c d");
    }
}
