//! The front door: HTTP, or HTTPS where it is configured.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use accel_domain::config::Server;
use anyhow::Context as _;
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;

use super::ending::Ending;

/// Requests that are being answered may take this long when the service ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Where the service listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    scheme: &'static str,
    address: SocketAddr,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.address)
    }
}

/// Binds, and gives the address and what serves there until the service ends.
pub(super) async fn start(
    server: &Server,
    routes: Router,
    ending: Ending,
) -> anyhow::Result<(Address, impl Future<Output = anyhow::Result<()>> + use<>)> {
    let listener = std::net::TcpListener::bind(server.listen)
        .with_context(|| format!("{} cannot be listened on: is another accelctl running?", server.listen))?;
    listener.set_nonblocking(true)?;
    let tls =
        match &server.tls {
            Some(tls) => {
                let loaded = RustlsConfig::from_pem_file(&tls.cert_file, &tls.key_file).await;
                Some(loaded.with_context(|| {
                    format!("server.tls: {} or {}", tls.cert_file.display(), tls.key_file.display())
                })?)
            }
            None => None,
        };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = Address { scheme, address: listener.local_addr()? };
    let handle = Handle::new();
    let service = routes.into_make_service();
    let stopping = handle.clone();
    tokio::spawn(async move {
        ending.begun().await;
        stopping.graceful_shutdown(Some(LAST_ANSWERS));
    });
    Ok((address, async move {
        match tls {
            Some(tls) => axum_server::from_tcp_rustls(listener, tls)?.handle(handle).serve(service).await?,
            None => axum_server::from_tcp(listener)?.handle(handle).serve(service).await?,
        }
        Ok(())
    }))
}
