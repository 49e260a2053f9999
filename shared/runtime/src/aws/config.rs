//! The text of the configuration, from wherever it is.

use aws_config::SdkConfig;

use super::Aws;
use super::object::object;
use super::problem::problem;
use crate::config::{LoadError, Location, Text, read};
use crate::remote::RemoteError;

impl Aws {
    /// The text at `location`.
    #[must_use]
    pub fn text(&self, location: Location) -> Text {
        let sdk = self.sdk().clone();
        Text::new(location.to_string(), move || {
            let (sdk, location) = (sdk.clone(), location.clone());
            async move {
                let read = match &location {
                    Location::File(path) => return read(path),
                    Location::Ssm(name) => parameter(&sdk, name).await,
                    Location::S3 { bucket, key } => object(&sdk, bucket, key).await,
                };
                read.map_err(|problem| LoadError::Remote { location, problem })
            }
        })
    }
}

/// A parameter, decrypted if it has to be.
pub(super) async fn parameter(sdk: &SdkConfig, name: &str) -> Result<String, RemoteError> {
    let asked = aws_sdk_ssm::Client::new(sdk).get_parameter().name(name).with_decryption(true).send().await;
    let answer = asked.map_err(|error| problem(&error, "ssm:GetParameter"))?;
    answer.parameter.and_then(|found| found.value).ok_or(RemoteError::Missing)
}
