//! The configuration: one file, the same wherever Accel runs.
//!
//! [`parse`] reads and checks the whole of it and reports every fault at once, each with its line and key. Nothing is
//! looked up: secrets stay references, hosts stay names, files stay paths. The doc comments of these structs are the
//! descriptions in the JSON Schema and in `docs/CONFIGURATION.md`.

mod registry;
mod rule;
mod server;

mod period;

mod fault;
mod read;
mod walk;
mod yaml;

mod check;
mod patterns;

mod lookup;

mod reference;
mod schema;

mod migrate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

pub use fault::{ConfigErrors, Fault};
pub use lookup::{NoRules, WebhookSecret};
pub use migrate::{MigrateError, Migration, migrate};
pub use period::{Period, PeriodError};
pub use read::{MAX_FILE_BYTES, parse, parse_in_aws};
pub use reference::reference_markdown;
pub use registry::{LayerLimits, Registry, RegistryKey, RegistryKeyError, WebhookAuth};
pub use rule::{Convert, Rule};
pub use schema::schema;
pub use server::{FanOut, Log, LogFormat, LogLevel, Server, Tasks, Tls};

/// The whole file.
///
/// Keys that are not known are errors. Sizes are written like `4MiB`, times like `30s`, `10m`, `24h` or `7d`.
/// Relative paths start at the working directory of the process.
///
/// Secrets are references: `${env:VARIABLE}`, `${file:PATH}`, `${secretsmanager:NAME}` or `${ssm:NAME}`, alone or
/// within other text; `$${` stands for `${` itself. Each is looked up where it is used, never when the file is read.
/// A literal secret is accepted by `accelctl` with a warning and refused in AWS. `${secretsmanager:NAME}` and `${ssm:NAME}`
/// are looked up in AWS only; `NAME#KEY` is the text under a key of a secret that is a JSON object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The process: addresses, storage, logs.
    pub server: Server,
    /// How long tasks are tried and kept, and how they are split up.
    pub tasks: Tasks,
    /// The registries Accel may talk to, each under its host (with its port, if it has one), as in
    /// `harbor.example.com` or `localhost:5000`. A host that is not here is never contacted.
    /// A key `host/project` gives one project a login and webhook secrets of its own.
    #[schemars(with = "BTreeMap<String, Registry>")]
    pub registries: BTreeMap<RegistryKey, Registry>,
    /// Which images become which formats. An image may match several rules; each makes its own outputs.
    pub rules: Vec<Rule>,
}
