//! Secrets in Secrets Manager and Systems Manager.

use accel_domain::Secret;
use aws_config::SdkConfig;

use super::Aws;
use super::config::parameter;
use super::problem::problem;
use crate::remote::RemoteError;
use crate::secrets::RemoteName;
use crate::{Clock, Secrets};

impl Aws {
    /// Secrets of this process's environment, its files, and AWS.
    #[must_use]
    pub fn secrets(&self, clock: Clock) -> Secrets {
        let sdk = self.sdk().clone();
        Secrets::new(clock).with_remote(move |name| {
            let sdk = sdk.clone();
            async move {
                match name {
                    RemoteName::SecretsManager(name) => secret(&sdk, &name).await,
                    RemoteName::Ssm(name) => parameter(&sdk, &name).await.map(Secret::new),
                }
            }
        })
    }
}

async fn secret(sdk: &SdkConfig, name: &str) -> Result<Secret, RemoteError> {
    let asked = aws_sdk_secretsmanager::Client::new(sdk).get_secret_value().secret_id(name).send().await;
    let answer = asked.map_err(|error| problem(&error, "secretsmanager:GetSecretValue"))?;
    answer.secret_string.map(Secret::new).ok_or(RemoteError::NotText)
}
