//! TLS for one registry: rustls on ring, the system's certificates and the registry's own.
//!
//! The system's store is used rather than a built-in list: a company's own authority is already in it, and it is
//! kept up to date by whoever keeps the machine.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::HostSettings;

/// The client configuration for a host; HTTP/2 is offered.
///
/// # Errors
/// The PEM cannot be read, or no certificate is known at all.
pub(crate) fn client_config(settings: &HostSettings) -> Result<ClientConfig, String> {
    let own = settings.ca_pem.as_deref().map(certificates).transpose()?.unwrap_or_default();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match Verifier::new_with_extra_roots(own, provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth(),
        // A plain registry works on a machine without certificates; then nothing at all is trusted over TLS.
        Err(_) if settings.plain_http => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        Err(error) => return Err(format!("{error} (install the system's CA certificates, or configure `ca_file`)")),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("its CA file cannot be read: {error}"))?;
    if found.is_empty() { Err("its CA file holds no certificate in PEM form".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_ca_file_without_certificates() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff\x00"] {
            let settings = HostSettings { ca_pem: Some(pem.to_vec()), ..HostSettings::new("h.example") };
            assert!(client_config(&settings).is_err(), "{pem:?}");
        }
    }
}
