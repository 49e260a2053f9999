//! What a process needs: configuration, secrets, telemetry, HTTP errors.
//!
//! Only this crate reads the environment, and only here does a secret's reference become its value.

pub mod clock;
pub mod config;
pub mod remote;
pub mod secrets;

pub mod auth;
pub mod logins;

pub mod http;
pub mod metrics;
pub mod telemetry;

#[cfg(feature = "aws")]
pub mod aws;

pub use auth::{Gate, GateError, Granted, Scope};
pub use clock::Clock;
pub use http::ApiError;
pub use logins::{Login, RegistryLogins};
pub use metrics::Metrics;
pub use secrets::{SecretError, Secrets};
