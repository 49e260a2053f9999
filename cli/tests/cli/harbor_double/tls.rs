//! The same Harbor behind TLS, with a certificate of an authority that nobody else knows.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::{HarborDouble, site};

/// An authority of its own.
pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
}

impl HarborDouble {
    /// A Harbor at `https://127.0.0.1:PORT` whose certificate `authority` has signed.
    pub(crate) fn start_tls(authority: &CertifiedIssuer<'static, KeyPair>) -> Self {
        let key = KeyPair::generate().unwrap();
        let names = [Ipv4Addr::LOCALHOST.to_string()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (shared, router) = site();
        let config = RustlsConfig::from_config(Arc::new(config));
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        let task = tokio::spawn(async move { server.serve(router.into_make_service()).await.unwrap() });
        Self { scheme: "https", addr, shared, task }
    }
}
