//! The HTTP client of one server that a person has named. It follows no redirect, and its TLS trusts the system's
//! authorities and those of a file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, Response, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::api::Address;
use crate::out::plain;

const CONNECT_TIME: Duration = Duration::from_secs(5);

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

/// The body of an answer; `None` if it is longer than `most` bytes.
pub(crate) async fn body(response: &mut Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
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
pub(crate) fn reason(error: reqwest::Error) -> String {
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
