//! Accel on an emulated AWS: the real bootstraps, deployed from `infra/template.yaml` as it is.
//!
//! `tests/cloud/run` builds, starts the emulator and runs these tests. Each deploys a stack of its own, whose
//! configuration names a registry of its own. Without the environment that the command gives, they fail.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

mod aws;
mod functions;
mod site;

mod http;

mod images;

mod queue;

mod ends;

mod fan_out;

mod sweeper;

mod secrets;

mod configuration;

mod bursts;

mod policies;
