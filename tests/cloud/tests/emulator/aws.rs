//! The emulated AWS, as its operator reaches it.

use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_sqs::config::{Credentials, ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use serde_json::Value;

/// A variable that `tests/cloud/run` sets.
pub(crate) fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are run by tests/cloud/run"))
}

/// Where it listens.
pub(crate) fn endpoint() -> String {
    given("AWS_ENDPOINT_URL")
}

/// Clients of whoever runs the tests.
pub(crate) async fn clients() -> SdkConfig {
    endpoint();
    aws_config::from_env().http_client(aws_smithy_http_client::Builder::new().build_http()).load().await
}

/// Clients of somebody else.
pub(crate) async fn clients_of(credentials: Credentials) -> SdkConfig {
    let own = clients().await.into_builder();
    own.credentials_provider(SharedCredentialsProvider::new(credentials)).build()
}

/// What was answered to a request that no SDK here makes.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends a request to a service in the name of whom `clients` belong to.
pub(crate) async fn ask(clients: &SdkConfig, service: &str, method: &str, path: &str, body: &Value) -> Said {
    let url = format!("{}{path}", endpoint());
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let credentials = clients.credentials_provider().unwrap().provide_credentials().await.unwrap();
    let identity = credentials.into();
    let region = clients.region().unwrap().to_string();
    let signing = SigningParams::builder()
        .identity(&identity)
        .region(&region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let headers = [("content-type", "application/json")];
    let request = SignableRequest::new(method, &url, headers.into_iter(), SignableBody::Bytes(&body)).unwrap();
    let (signature, _) = sign(request, &signing).unwrap().into_parts();
    let client = accel_cloud_tests::client();
    let request = client.request(method.parse().unwrap(), &url).header("content-type", "application/json").body(body);
    let request = signature.headers().fold(request, |request, (name, value)| request.header(name, value));
    let response = request.send().await.unwrap();
    Said { status: response.status().as_u16(), body: response.text().await.unwrap() }
}

/// Invokes a function and gives what it returned.
pub(crate) async fn invoke(function: &str, event: &Value) -> Value {
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let said = ask(&clients().await, "lambda", "POST", &path, event).await;
    assert_eq!(said.status, 200, "{said:?}");
    serde_json::from_str(&said.body).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}
