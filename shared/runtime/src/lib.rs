//! What a process needs: configuration, secrets, telemetry, HTTP errors.
//!
//! Only this crate reads the environment, and only here does a secret's reference become its value.

pub mod clock;
pub mod config;
pub mod secrets;

pub mod auth;
pub mod logins;

pub mod http;
pub mod metrics;
pub mod telemetry;

pub use auth::{Gate, GateError, Granted, Scope};
pub use clock::Clock;
pub use http::ApiError;
pub use logins::{Login, RegistryLogins};
pub use metrics::Metrics;
pub use secrets::{SecretError, Secrets};
