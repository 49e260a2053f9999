//! The built `accelctl`, run as a person would, against a registry in this process.

mod machine;

mod configuration;
mod conversions;
mod layouts;
mod logins;
mod output;
mod server;
mod stores;
mod tasks;
