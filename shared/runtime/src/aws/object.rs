//! An object of S3, read with a signed GET. The SDK's client for S3 would be a ninth of each function, most of it tables of
//! checksums.

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

use super::{CALL, REQUEST, REQUESTS, TLS};
use crate::remote::RemoteError;

/// Before the second request; twice as long before each one after it.
const PAUSE: Duration = Duration::from_millis(200);
/// What the path of a URL shows as it is. Spec: RFC 3986, 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The text of an object. Its bucket is named in the path, which works wherever `AWS_ENDPOINT_URL` leads.
pub(super) async fn object(sdk: &SdkConfig, bucket: &str, key: &str) -> Result<String, RemoteError> {
    let region = sdk.region().ok_or_else(|| unreachable_because("AWS_REGION is not set"))?.as_ref();
    let url = format!("{}/{}/{}", endpoint(sdk, region), encoded(bucket), encoded(key));
    let provider = sdk.credentials_provider().ok_or_else(|| unreachable_because("there are no credentials"))?;
    let credentials = provider.provide_credentials().await.map_err(unreachable_because)?;
    let connector = Connector::builder().tls_provider(TLS).build();
    let read = async {
        let mut pause = PAUSE;
        for _ in 1..REQUESTS {
            let read = tokio::time::timeout(REQUEST, read(&connector, &credentials, region, &url));
            match read.await.unwrap_or_else(|_| Err(unreachable_because("time-out"))) {
                Err(RemoteError::Unreachable(_)) => tokio::time::sleep(pause).await,
                read => return read,
            }
            pause *= 2;
        }
        read(&connector, &credentials, region, &url).await
    };
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
    ];
    let of_region = partitions.iter().find(|(prefix, _)| region.starts_with(prefix));
    let suffix = of_region.map_or("amazonaws.com", |(_, suffix)| suffix);
    format!("https://s3{fips}{dual}.{region}.{suffix}")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

async fn read(
    connector: &Connector,
    credentials: &Credentials,
    region: &str,
    url: &str,
) -> Result<String, RemoteError> {
    let request = signed(credentials, region, url, SystemTime::now())?;
    let answer = connector.call(request).await.map_err(unreachable_because)?;
    match answer.status().as_u16() {
        200 => text(answer).await,
        403 => Err(RemoteError::Denied("s3:GetObject")),
        404 => Err(RemoteError::Missing),
        status => Err(unreachable_because(format!("S3 answered {status}"))),
    }
}

/// The GET of `url`. Spec: AWS Signature Version 4, as S3 has it: the path is encoded once and not normalised.
fn signed(credentials: &Credentials, region: &str, url: &str, now: SystemTime) -> Result<HttpRequest, RemoteError> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder().identity(&identity).region(region).name("s3").time(now);
    let parameters = parameters.settings(settings).build().map_err(unreachable_because)?.into();
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(&[]));
    let (signature, _) =
        sign(request.map_err(unreachable_because)?, &parameters).map_err(unreachable_because)?.into_parts();
    let mut request = Request::get(url).body(SdkBody::empty()).map_err(unreachable_because)?;
    signature.apply_to_request_http1x(&mut request);
    HttpRequest::try_from(request).map_err(unreachable_because)
}

/// What comes, up to one piece more than is allowed, so that the parser sees that it is too much.
async fn text(answer: HttpResponse) -> Result<String, RemoteError> {
    let mut body = ByteStream::new(answer.into_body());
    let mut bytes = Vec::new();
    while bytes.len() <= MAX_FILE_BYTES {
        let Some(piece) = body.try_next().await.map_err(unreachable_because)? else { break };
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| RemoteError::NotText)
}

fn unreachable_because(why: impl ToString) -> RemoteError {
    RemoteError::Unreachable(why.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use aws_config::Region;

    use super::*;

    #[test]
    fn s3_is_where_aws_says() {
        let rows = [
            ("eu-central-1", false, false, "https://s3.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "https://s3-fips.us-gov-west-1.amazonaws.com"),
            ("us-east-1", true, true, "https://s3-fips.dualstack.us-east-1.amazonaws.com"),
            ("cn-north-1", false, true, "https://s3.dualstack.cn-north-1.amazonaws.com.cn"),
            ("us-isob-east-1", false, false, "https://s3.us-isob-east-1.sc2s.sgov.gov"),
        ];
        for (region, fips, dual, expected) in rows {
            let sdk = SdkConfig::builder().region(Region::new(region)).use_fips(fips).use_dual_stack(dual).build();
            assert_eq!(endpoint(&sdk, region), expected);
        }
        let sdk = SdkConfig::builder().endpoint_url("http://127.0.0.1:4566/").build();
        assert_eq!(endpoint(&sdk, "us-east-1"), "http://127.0.0.1:4566");
    }

    /// The expected signature was worked out with another implementation, from the keys and the time of the examples in
    /// the S3 API Reference.
    #[test]
    fn a_request_is_signed() {
        let credentials =
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None, None, "test");
        let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let url = format!("https://s3.us-east-1.amazonaws.com/examplebucket/{}", encoded("a dir/test$file.text"));
        let request = signed(&credentials, "us-east-1", &url, now).unwrap();
        assert!(request.uri().ends_with("/a%20dir/test%24file.text"), "{}", request.uri());
        let header = |name| request.headers().get(name).unwrap();
        assert_eq!(header("x-amz-date"), "20130524T000000Z");
        assert_eq!(header("x-amz-content-sha256"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                        SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=f3687daa8628df7cba7b0af8e7fb4177930a13e7f2f8fa308c7364d9301cf112";
        assert_eq!(header("authorization"), expected);
    }
}
