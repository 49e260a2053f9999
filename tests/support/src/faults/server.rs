//! The faulty registry on its socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accel_registry_server::{Content, Registry};
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::bodies::Gate;
use super::line::{Line, Lines};
use super::play::{Stage, play};
use super::request::Request;
use super::rule::Rule;
use super::seen::{Log, Seen, lock};
use super::turns::{Held, Turns};
use super::whole;

/// A test that waits longer than this for a request waits for ever.
const HUNG: Duration = Duration::from_secs(120);

/// A registry on an ephemeral port of loopback. It works, and fails where a [`Rule`] says so.
/// It stops when it is dropped, and releases what is stalled.
#[derive(Debug)]
pub struct FaultyRegistry {
    addr: SocketAddr,
    stage: Arc<Stage>,
    task: JoinHandle<()>,
}

impl FaultyRegistry {
    /// Starts an open, empty registry.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start() -> Self {
        Self::serve(Registry::default()).await
    }

    /// Starts `registry`.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn serve(registry: Registry) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let router = registry.router();
        let (rules, log, gate, turns) = (Mutex::default(), Log::default(), Arc::new(Gate::new()), Turns::new());
        let stage = Arc::new(Stage { registry, rules, log, gate, turns });
        let router = router.layer(from_fn_with_state(Arc::clone(&stage), play));
        let service = router.into_make_service_with_connect_info::<Line>();
        let task = tokio::spawn(async move { drop(axum::serve(Lines(listener), service).await) });
        Self { addr, stage, task }
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The host of image references into it: `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// What it holds.
    #[must_use]
    pub fn content(&self) -> &Content {
        self.stage.registry.content()
    }

    /// The registry behind the faults.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.stage.registry
    }

    /// Adds a rule. Where several apply to a request, the first is played.
    pub fn rule(&self, rule: Rule) {
        lock(&self.stage.rules).push(rule);
    }

    /// Forgets all rules.
    pub fn clear_rules(&self) {
        lock(&self.stage.rules).clear();
    }

    /// Lets go on what hangs or is stalled, now and from now on.
    pub fn release(&self) {
        self.stage.gate.release();
    }

    /// Waits until `count` answers have hung or stalled since the start.
    ///
    /// # Panics
    /// It takes two minutes.
    pub async fn stalled(&self, count: usize) {
        let reached = tokio::time::timeout(HUNG, self.stage.gate.reached(count)).await;
        assert!(reached.is_ok(), "fewer than {count} answers hang or stall: {:#?}", self.requests());
    }

    /// The next request that is held, once there is one.
    ///
    /// # Panics
    /// It takes two minutes.
    pub async fn held(&self) -> Held {
        let held = tokio::time::timeout(HUNG, self.stage.turns.next()).await;
        held.unwrap_or_else(|_| panic!("no request is held: {:#?}", self.requests()))
    }

    /// The parts that `key`, a tag or a digest, names and the repository lacks; none if nothing stands under it.
    #[must_use]
    pub fn lacking(&self, repository: &str, key: &str) -> Vec<String> {
        let stored = self.content().manifest(repository, key);
        stored.map(|stored| whole::parts_lacking(self.content(), repository, &stored.bytes)).unwrap_or_default()
    }

    /// All requests so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.stage.log.seen()
    }

    /// The requests of one kind so far, in order.
    #[must_use]
    pub fn requests_of(&self, request: Request) -> Vec<Seen> {
        let mut seen = self.requests();
        seen.retain(|seen| seen.request == request);
        seen
    }

    /// Empties the log.
    pub fn forget_requests(&self) {
        self.stage.log.clear();
    }

    /// Bytes of blobs that came in, repeated ones included.
    #[must_use]
    pub fn bytes_uploaded(&self) -> u64 {
        self.requests().iter().filter(|seen| seen.request.uploads()).map(|seen| seen.received_bytes).sum()
    }

    /// Bytes of blobs that went out, repeated ones included.
    #[must_use]
    pub fn bytes_downloaded(&self) -> u64 {
        self.requests_of(Request::BlobGet).iter().map(|seen| seen.sent_bytes).sum()
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.release();
        self.task.abort();
    }
}
