//! An object of S3, read with a signed GET. The SDK's client for S3 would be a ninth of each function, most of it tables of
//! checksums.

use std::error::Error;
use std::time::{Duration, SystemTime};

use accel_domain::config::MAX_FILE_BYTES;
use aws_config::SdkConfig;
use aws_sdk_ssm::config::{Credentials, ProvideCredentials as _};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use axum::http::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::problem::chain;
use super::{CALL, REQUEST, REQUESTS, TLS};
use crate::remote::RemoteError;

/// Of the body of an error, more than S3 ever sends.
const MAX_ERROR_BYTES: usize = 8 << 10;
const MAX_CODE_CHARS: usize = 60;
/// Before the second request; twice as long before each one after it.
const PAUSE: Duration = Duration::from_millis(200);
/// What the path of a URL shows as it is. Spec: RFC 3986, 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The text of an object. Its bucket is named in the path, which works wherever `AWS_ENDPOINT_URL` leads.
pub(super) async fn object(sdk: &SdkConfig, bucket: &str, key: &str) -> Result<String, RemoteError> {
    let region = sdk.region().ok_or_else(|| unreachable_because("AWS_REGION is not set"))?.as_ref();
    let url = format!("{}/{}/{}", endpoint(sdk, region), encoded(bucket), encoded(key));
    let provider = sdk.credentials_provider().ok_or_else(|| unreachable_because("there are no credentials"))?;
    let credentials = provider.provide_credentials().await.map_err(failed)?;
    let connector = Connector::builder().tls_provider(TLS).build();
    let read = read(&connector, &credentials, region, &url);
    tokio::time::timeout(CALL, read).await.unwrap_or_else(|_| Err(unreachable_because("time-out")))
}

/// Where S3 is. Spec: the endpoints that AWS publishes for S3 in each partition.
fn endpoint(sdk: &SdkConfig, region: &str) -> String {
    if let Some(url) = sdk.endpoint_url() {
        return url.trim_end_matches('/').to_owned();
    }
    let fips = if sdk.use_fips() == Some(true) { "-fips" } else { "" };
    let dual = if sdk.use_dual_stack() == Some(true) { ".dualstack" } else { "" };
    let partitions = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
    ];
    let of_region = partitions.iter().find(|(prefix, _)| region.starts_with(prefix));
    let suffix = of_region.map_or("amazonaws.com", |(_, suffix)| suffix);
    format!("https://s3{fips}{dual}.{region}.{suffix}")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Why a request brought no text.
enum Failure {
    /// The next request may bring it.
    Passing(RemoteError),
    /// So would the next one.
    Lasting(RemoteError),
}

async fn read(
    connector: &Connector,
    credentials: &Credentials,
    region: &str,
    url: &str,
) -> Result<String, RemoteError> {
    let mut pauses = (0..REQUESTS - 1).map(|pause| PAUSE * 2_u32.pow(pause));
    loop {
        let request = signed(credentials, region, url, SystemTime::now())?;
        let answer = tokio::time::timeout(REQUEST, ask(connector, request, region)).await;
        match answer.unwrap_or_else(|_| Err(Failure::Passing(unreachable_because("time-out")))) {
            Ok(text) => return Ok(text),
            Err(Failure::Lasting(problem)) => return Err(problem),
            Err(Failure::Passing(problem)) => match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(problem),
            },
        }
    }
}

async fn ask(connector: &Connector, request: HttpRequest, region: &str) -> Result<String, Failure> {
    let answer = connector.call(request).await.map_err(passing)?;
    let status = answer.status().as_u16();
    if status == 200 {
        return text(answer).await;
    }
    let problem = refusal(status, code(answer).await.as_deref(), region);
    Err(if status == 429 || status >= 500 { Failure::Passing(problem) } else { Failure::Lasting(problem) })
}

/// What S3 has against it. Spec: the error responses of the S3 API Reference.
fn refusal(status: u16, code: Option<&str>, region: &str) -> RemoteError {
    match code {
        Some("AccessDenied") => RemoteError::Denied("s3:GetObject"),
        Some("NoSuchKey" | "NoSuchBucket") => RemoteError::Missing,
        Some(code @ ("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed")) => {
            let hint = format!("the bucket has to be in the function's region, {region}");
            unreachable_because(format!("S3 answered {status} {code}: {hint}"))
        }
        Some(code) => unreachable_because(format!("S3 answered {status} {code}")),
        None => unreachable_because(format!("S3 answered {status}")),
    }
}

/// The code in the body of an error. Nothing else of it is quoted.
async fn code(answer: HttpResponse) -> Option<String> {
    let mut body = ByteStream::new(answer.into_body());
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ERROR_BYTES
        && let Ok(Some(piece)) = body.try_next().await
    {
        bytes.extend_from_slice(&piece);
    }
    let body = String::from_utf8_lossy(&bytes);
    let (code, _) = body.split_once("<Code>")?.1.split_once("</Code>")?;
    let is_code = code.len() <= MAX_CODE_CHARS && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    is_code.then(|| code.to_owned())
}

/// The GET of `url`. Spec: AWS Signature Version 4, as S3 has it: the path is encoded once and not normalised.
fn signed(credentials: &Credentials, region: &str, url: &str, now: SystemTime) -> Result<HttpRequest, RemoteError> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder().identity(&identity).region(region).name("s3").time(now);
    let parameters = parameters.settings(settings).build().map_err(failed)?.into();
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]));
    let (signature, _) = sign(request.map_err(failed)?, &parameters).map_err(failed)?.into_parts();
    let mut request = Request::get(url).body(SdkBody::empty()).map_err(failed)?;
    signature.apply_to_request_http1x(&mut request);
    HttpRequest::try_from(request).map_err(failed)
}

/// What comes, up to one piece more than is allowed, so that the parser sees that it is too much.
async fn text(answer: HttpResponse) -> Result<String, Failure> {
    let mut body = ByteStream::new(answer.into_body());
    let mut bytes = Vec::new();
    while bytes.len() <= MAX_FILE_BYTES {
        let Some(piece) = body.try_next().await.map_err(passing)? else {
            return String::from_utf8(bytes).map_err(|_| Failure::Lasting(RemoteError::NotText));
        };
        bytes.extend_from_slice(&piece);
    }
    // A piece may end in the middle of a character.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn passing(error: impl Error) -> Failure {
    Failure::Passing(failed(error))
}

fn failed(error: impl Error) -> RemoteError {
    unreachable_because(chain(&error))
}

fn unreachable_because(why: impl Into<String>) -> RemoteError {
    RemoteError::Unreachable(why.into())
}

#[cfg(test)]
mod tests;
