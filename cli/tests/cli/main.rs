//! The built `accelctl`, run as a person would, against a registry in this process.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod machine;

mod configuration;
mod conversions;
mod harbor;
mod harbor_double;
mod inspect;
mod layouts;
mod logins;
mod memory;
mod nydus;
mod output;
mod proxies;
mod server;
mod serving;
mod stores;
mod tasks;
mod verify;
