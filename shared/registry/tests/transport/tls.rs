//! TLS: a private authority is trusted where it is configured, HTTP/2 is spoken, and nothing else is trusted.

use std::sync::Arc;

use accel_domain::ErrorClass;
use accel_registry::{End, HostSettings, NoCredentials, Registries};
use axum::Router;
use axum::extract::Request;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::double::quick;

/// A server for `localhost` and `registry.invalid` whose certificate a new authority signed; its address and the
/// authority in PEM.
pub(crate) async fn start() -> (String, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "registry.invalid"].map(str::to_owned);
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let router = Router::new().fallback(|request: Request| async move {
        let version = format!("{:?}", request.version());
        [
            ("docker-content-digest", accel_image::Digest::of(version.as_bytes()).to_string()),
            ("content-length", version.len().to_string()),
            ("content-type", accel_image::media_type::OCI_INDEX.to_owned()),
        ]
    });
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move { axum::serve(TlsListener { listener, acceptor }, router).await });
    (address, authority.pem())
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn end(address: &str, ca_pem: Option<String>) -> End {
    let settings = HostSettings { ca_pem: ca_pem.map(String::into_bytes), ..HostSettings::new(address) };
    let registries = Registries::new(vec![quick(settings)], Arc::new(NoCredentials)).unwrap();
    End::Registry(registries.repository(&format!("{address}/team/app:1").parse().unwrap()).unwrap())
}

#[tokio::test]
async fn a_configured_authority_is_trusted_and_http_2_is_spoken() {
    let (address, authority) = start().await;
    let head = end(&address, Some(authority)).head_manifest("1").await.unwrap().unwrap();
    assert_eq!(head.digest, accel_image::Digest::of(b"HTTP/2.0"));
}

#[tokio::test]
async fn an_unknown_authority_is_permanent_and_says_what_to_configure() {
    let (address, _) = start().await;
    let (_, another) = start().await;
    for authority in [None, Some(another)] {
        let error = end(&address, authority).head_manifest("1").await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        assert!(error.to_string().contains("ca_file"), "{error}");
    }
}
