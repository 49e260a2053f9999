//! The built `accelctl serve`, run as a service is: with a configuration file, a registry on loopback, signals and
//! kills.

mod service;
mod site;

mod access;
mod bursts;
mod demo;
mod faults;
mod kills;
mod starting;
mod stopping;
mod tls;
