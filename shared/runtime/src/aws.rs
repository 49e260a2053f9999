//! AWS: the one place that says how it is reached, and what a process reads from it before it can begin.
//!
//! Region, credentials and `AWS_ENDPOINT_URL` come from the environment, nothing from profiles or metadata services.

mod config;
mod problem;
mod secrets;

pub mod emf;
pub mod function;

use std::fmt;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use function::{Environment, Invocation, variable};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a call may take with all its retries.
const CALL: Duration = Duration::from_secs(15);
/// Requests of a call.
const REQUESTS: u32 = 4;

/// How AWS is reached: what clients of its services are made of.
#[derive(Clone)]
pub struct Aws {
    sdk: SdkConfig,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.sdk.region()).finish_non_exhaustive()
    }
}

impl Aws {
    /// As the environment says.
    pub async fn from_environment() -> Self {
        let tls = Provider::Rustls(CryptoMode::Ring);
        let client = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(REQUEST)
            .operation_timeout(CALL)
            .build();
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(EnvironmentVariableRegionProvider::new())
            .credentials_provider(EnvironmentVariableCredentialsProvider::new())
            .http_client(client)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(REQUESTS))
            .load()
            .await;
        Self { sdk }
    }

    /// What the SDK makes clients of.
    #[must_use]
    pub const fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }
}
