//! AWS: the one place that says how it is reached, and what a process reads from it before it can begin.
//!
//! Region, credentials and `AWS_ENDPOINT_URL` come from the environment, nothing from profiles or metadata services.

mod config;
mod object;
mod problem;
mod secrets;

pub mod emf;
pub mod function;

use std::fmt;
use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::region::ProvideRegion as _;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ssm::config::SharedCredentialsProvider;
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

const TLS: Provider = Provider::Rustls(CryptoMode::Ring);

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
        let client = aws_smithy_http_client::Builder::new().tls_provider(TLS).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(REQUEST)
            .operation_timeout(CALL)
            .build();
        let credentials = SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new());
        // Not loaded by `aws_config`: that would link, and read, profiles and everything else that a desktop may have.
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(EnvironmentVariableRegionProvider::new().region().await)
            .credentials_provider(credentials)
            .http_client(client)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(REQUESTS))
            .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
            .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"));
        sdk.set_endpoint_url(std::env::var("AWS_ENDPOINT_URL").ok().filter(|url| !url.is_empty()));
        Self { sdk: sdk.build() }
    }

    /// What the SDK makes clients of.
    #[must_use]
    pub const fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }
}

/// Whether an environment variable of the SDK's is on.
fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value.eq_ignore_ascii_case("true"))
}
