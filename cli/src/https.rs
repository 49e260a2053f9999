//! The HTTP client of one server that a person has named. It follows no redirect, and its TLS trusts the system's
//! authorities and those of a file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::ErrorClass;
use anyhow::Context as _;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::api::Address;
use crate::out::plain;

/// For an answer that nothing has to be waited for.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A page of 1,000 tasks is a tenth of it.
const MAX_BODY_BYTES: usize = 16 << 20;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer to look at. The texts say the reason, and hold neither URL nor secret.
pub(crate) enum NoAnswer {
    /// Nobody answers there, or not in TLS that is trusted.
    Unreachable(String),
    /// The connection was there, and broke.
    Broken(String),
    /// What answers is not what was meant.
    Strange(String),
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        let connecting = error.is_connect();
        let reason = reason(error);
        if connecting { Self::Unreachable(reason) } else { Self::Broken(reason) }
    }
}

/// A client of the server at `address`, which may be known by certificates of `ca_pem` beside the system's.
pub(crate) fn client(address: &Address, ca_pem: Option<&[u8]>) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("accelctl/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIME)
        .tcp_keepalive(Duration::from_secs(30))
        .tls_backend_preconfigured(tls(address, ca_pem)?);
    let builder = if address.is_loopback() { builder.no_proxy() } else { builder };
    Ok(builder.build()?)
}

/// The bytes of a file with certificates.
pub(crate) fn authorities(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    let read = |file: &Path| {
        std::fs::read(file).with_context(|| format!("the certificate file {} cannot be read", file.display()))
    };
    file.map(read).transpose()
}

/// Sends a request and reads the answer, of whatever status but a redirect.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    if status.is_redirection() {
        let to = destination(&response).unwrap_or_else(|| "somewhere else".to_owned());
        return Err(NoAnswer::Strange(format!("it redirects to {to}")));
    }
    match body(&mut response, MAX_BODY_BYTES).await? {
        Some(body) => Ok(Answer { status, headers, body }),
        None => Err(NoAnswer::Strange("its answer is too large".to_owned())),
    }
}

/// Scheme and host of where a redirect leads. What is behind them may hold a token.
fn destination(response: &Response) -> Option<String> {
    let to = response.headers().get(LOCATION)?.to_str().ok()?;
    let to = response.url().join(to).ok()?;
    let origin = to.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// What a server said of its refusal, fit for a terminal.
pub(crate) fn told(message: &str) -> String {
    if message.is_empty() { "it does not say why".to_owned() } else { plain(message) }
}

/// Whether what was refused with `status` may go well later. acceld's client took 501 and above for success.
pub(crate) const fn class(status: u16) -> ErrorClass {
    match status {
        408 | 425 | 429 | 500..=599 => ErrorClass::BACKOFF,
        _ => ErrorClass::Permanent,
    }
}

/// The body of an answer; `None` if it is longer than `most` bytes.
async fn body(response: &mut Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await? {
        if body.len() + bytes.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&bytes);
    }
    Ok(Some(body))
}

/// The innermost cause, without the URL.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    plain(&cause.to_string())
}

/// For HTTPS the system's certificates and `ca_pem`; for plain HTTP nothing, so that a machine without certificates
/// will do.
fn tls(address: &Address, ca_pem: Option<&[u8]>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = if address.is_https() {
        let own = CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default()).collect::<Result<Vec<_>, _>>()?;
        let verifier = Arc::new(Verifier::new_with_extra_roots(own, provider)?);
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    } else {
        builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
