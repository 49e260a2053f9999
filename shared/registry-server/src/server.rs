//! The registry on a socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::content::Content;
use crate::registry::Registry;

/// How long [`RegistryServer::stop`] waits for open requests.
const GRACE: Duration = Duration::from_secs(5);

/// A registry that listens, until it is stopped or dropped.
#[derive(Debug)]
pub struct RegistryServer {
    addr: SocketAddr,
    registry: Registry,
    /// Dropping it is the signal to stop.
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl RegistryServer {
    /// Starts an open, empty registry. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(addr: SocketAddr) -> io::Result<Self> {
        Self::serve(addr, Registry::default()).await
    }

    /// Starts `registry`. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn serve(addr: SocketAddr, registry: Registry) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        // Answers are small and many: waiting for more bytes only delays them.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, registry.router()).with_graceful_shutdown(async move {
            // Told and dropped are the same.
            drop(stopped.await);
        });
        let task = tokio::spawn(async move { serving.await });
        Ok(Self { addr, registry, stop, task })
    }

    /// The address that the server listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The host of image references into this registry: `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// The registry that is served.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the registry holds.
    #[must_use]
    pub const fn content(&self) -> &Content {
        self.registry.content()
    }

    /// Takes no more connections, lets open requests end for a few seconds, and stops.
    pub async fn stop(self) {
        drop(self.stop);
        let mut task = self.task;
        if timeout(GRACE, &mut task).await.is_err() {
            task.abort();
        }
    }
}
