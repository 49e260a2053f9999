//! The built `accelctl serve`, run as a service is: with a configuration file, a registry on loopback, signals and
//! kills.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod service;
mod site;

mod access;
mod bursts;
mod demo;
mod disk;
mod faults;
mod kills;
mod secrets;
mod starting;
mod stopping;
mod tls;
