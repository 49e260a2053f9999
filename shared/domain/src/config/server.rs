//! The sections `server` and `tasks`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::Period;
use crate::secret::SecretRef;
use crate::{ByteSize, task::RetryPolicy};

/// `admin_auth`, `webhook_body` and `log` hold everywhere, the rest is for `accelctl serve`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port to listen on.
    #[schemars(with = "String", example = "0.0.0.0:2077")]
    pub listen: SocketAddr,
    /// Directory of the embedded store.
    pub state: PathBuf,
    /// How many images are converted at once.
    #[schemars(range(min = 1, max = 256))]
    pub workers: u16,
    /// How many threads compress. By default as many as the machine has cores.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u16>,
    /// The value of the `Authorization` header that sees, retries and cancels all tasks, and whose events are
    /// accepted for every registry.
    #[schemars(example = "${env:ADMIN_AUTH}")]
    pub admin_auth: Option<SecretRef>,
    /// The largest webhook body that is read.
    pub webhook_body: ByteSize,
    /// Serves HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// After SIGTERM or SIGINT, how long running conversions may finish before they are handed back.
    pub shutdown_grace: Period,
    /// What is logged, to standard error.
    pub log: Log,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 2077)),
            state: PathBuf::from("./accel-state"),
            workers: 2,
            threads: None,
            admin_auth: None,
            webhook_body: ByteSize(1 << 20),
            tls: None,
            shutdown_grace: Period(Duration::from_secs(30)),
            log: Log::default(),
        }
    }
}

/// The certificate of `accelctl serve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and the chain above it.
    #[schemars(example = "/etc/accel/tls.crt")]
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    #[schemars(example = "/etc/accel/tls.key")]
    pub key_file: PathBuf,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` for people, `json` for machines. In Lambda it is always `json`.
    pub format: LogFormat,
    /// The least important level that is logged. In Lambda `AWS_LAMBDA_LOG_LEVEL` goes before.
    pub level: LogLevel,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important level that is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// One line a request and a conversion.
    #[default]
    Info,
    /// Single steps.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How long tasks are tried and kept, and how they are split up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tasks {
    /// How often a task is tried before it fails. The waits between are 15 seconds, 1, 5 and then 15 minutes.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// How long finished tasks stay in the list.
    pub retention: Period,
    /// When the layers of an image are converted by invocations of their own.
    pub fan_out: FanOut,
}

/// When the layers of an image are converted by invocations of their own, all at once, and not in the one that converts
/// the image. Meant for functions, where each has a machine to itself: `accelctl serve` gains nothing by it. Without a
/// limit no image is split up. Layers that were converted before do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FanOut {
    /// For images with more layers to convert than this.
    #[schemars(range(min = 1, max = 1000), example = 8)]
    pub layers: Option<u32>,
    /// For images with more bytes to convert than this, in two layers at least.
    #[schemars(example = "512MiB")]
    pub bytes: Option<ByteSize>,
}

impl FanOut {
    /// Whether so much is to be converted by invocations of their own. A single layer never is: one invocation more
    /// would do what the first can.
    #[must_use]
    pub fn is_exceeded_by(self, layers: usize, bytes: u64) -> bool {
        let many = self.layers.is_some_and(|most| layers > most as usize);
        let large = self.bytes.is_some_and(|most| bytes > most.0);
        layers > 1 && (many || large)
    }
}

impl Default for Tasks {
    fn default() -> Self {
        let policy = RetryPolicy::default();
        Self { attempts: policy.attempts, retention: Period(policy.retention), fan_out: FanOut::default() }
    }
}
