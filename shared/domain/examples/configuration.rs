//! Prints `docs/CONFIGURATION.md`.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]

fn main() {
    print!("{}", accel_domain::config::reference_markdown());
}
