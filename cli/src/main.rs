//! `accelctl`: Accel on one machine.

mod args;
mod exit;
mod out;

mod connect;
mod docker;
mod place;

mod bars;
mod convert;
mod phases;
mod records;
mod show;

mod api;
mod https;
mod task;

mod harbor;

mod serve;

mod completions;
mod config;
mod store;

mod inspect;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    exit::code(args.run())
}
