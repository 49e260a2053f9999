//! The text of the configuration, from wherever it is.

use accel_domain::config::MAX_FILE_BYTES;
use aws_config::SdkConfig;
use aws_sdk_s3::primitives::ByteStream;

use super::Aws;
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

/// An object. Buckets are named in the path, which works wherever `AWS_ENDPOINT_URL` leads.
async fn object(sdk: &SdkConfig, bucket: &str, key: &str) -> Result<String, RemoteError> {
    let client = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(sdk).force_path_style(true).build());
    let asked = client.get_object().bucket(bucket).key(key).send().await;
    let answer = asked.map_err(|error| problem(&error, "s3:GetObject"))?;
    String::from_utf8(bounded(answer.body).await?).map_err(|_| RemoteError::NotText)
}

/// What comes, up to one piece more than is allowed, so that the parser sees that it is too much.
async fn bounded(mut body: ByteStream) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    while bytes.len() <= MAX_FILE_BYTES {
        let piece = body.try_next().await.map_err(|error| RemoteError::Unreachable(error.to_string()))?;
        let Some(piece) = piece else { break };
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
