//! `accelctl serve`: the whole service in one process, on an embedded store.

mod access;
mod demo;
mod ending;
mod listen;
mod sweeper;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use accel_converter::{Converter, hosts, release_leases};
use accel_domain::Timestamp;
use accel_domain::config::Config;
use accel_pipeline::Engine;
use accel_query::Query;
use accel_runtime::http::with_fallbacks;
use accel_runtime::{Clock, Gate, Metrics, Secrets, telemetry};
use accel_tasks::Embedded;
use accel_webhook::Webhook;
use anyhow::Context as _;
use clap::Args;
use tracing::{info, warn};

use ending::Ending;

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file; `ACCEL_CONFIG` says where it is otherwise.
    #[arg(long, conflicts_with = "demo")]
    config: Option<PathBuf>,
    /// Show what Accel does: starts a registry with an image of its own, pushes it, converts it, and goes on serving.
    #[arg(long)]
    demo: bool,
    /// Listen here instead of where the configuration says.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// Serves until it is told to stop.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    // For the front door's TLS; an error would say that there is one already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let ending = Ending::on_signals()?;
    if args.demo {
        return demo::run(ending, args.listen).await;
    }
    let mut config = accel_runtime::config::load(args.config.as_deref())?;
    config.server.listen = args.listen.unwrap_or(config.server.listen);
    telemetry::init(config.server.log.format, config.server.log.level)?;
    config.required_rules()?;
    for warning in config.warnings() {
        warn!("{warning}");
    }
    Service::start(config, ending).await?.run_to_the_end().await
}

/// Everything that runs.
struct Service {
    address: listen::Address,
    parts: tokio::task::JoinSet<anyhow::Result<()>>,
    ending: Ending,
}

impl Service {
    /// Opens the store, and starts the workers, the sweeper and the front door.
    async fn start(config: Config, ending: Ending) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let store = Arc::new(open_store(&config).await?);
        let clock = Clock::default();
        let secrets = Arc::new(Secrets::new(clock.clone()));
        let gate = Arc::new(Gate::new(&config, Arc::clone(&secrets), clock.clone()));
        let metrics = Metrics::new();
        let registries = hosts::registries(&config, &secrets).await?;

        let webhook = Webhook::new(
            Arc::clone(&config),
            Arc::clone(&store),
            Arc::clone(&store),
            Arc::clone(&gate),
            metrics.clone(),
            clock.clone(),
        );
        let query = Query::new(&config, Arc::clone(&store), gate, metrics.clone(), clock);
        let routes = accel_webhook::router(webhook).merge(accel_query::router(query));
        let routes = with_fallbacks(routes).layer(axum::middleware::from_fn(access::log));
        let (address, listening) = listen::start(&config.server, routes, ending.clone()).await?;

        let mut parts = tokio::task::JoinSet::new();
        parts.spawn(listening);
        let engine = Engine::new(threads(&config));
        let queue = Arc::clone(&store);
        let converter = Converter::new(Arc::clone(&config), Arc::clone(&store), queue, registries, engine, metrics);
        let converter = Arc::new(converter);
        parts.spawn(sweeper::run(Arc::clone(&converter), Arc::clone(&store), ending.clone()));
        let grace = config.server.shutdown_grace.0;
        for _ in 0..config.server.workers {
            parts.spawn(workers::run(Arc::clone(&converter), Arc::clone(&store), ending.clone(), grace));
        }
        info!(%address, workers = config.server.workers, store = %store.path().display(), "serving");
        Ok(Self { address, parts, ending })
    }

    /// Waits until everything has stopped. A part that fails stops the others.
    async fn run_to_the_end(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(part) = self.parts.join_next().await {
            let part = part.context("a part of the service panicked").and_then(|part| part);
            self.ending.begin();
            result = result.and(part);
        }
        info!("stopped");
        result
    }
}

/// Opens the store. Nobody else has it, so whoever still holds a task in it is dead.
async fn open_store(config: &Config) -> anyhow::Result<Embedded> {
    let dir = &config.server.state;
    std::fs::create_dir_all(dir).with_context(|| format!("the state directory {} cannot be made", dir.display()))?;
    let store = Embedded::open(dir.join(crate::store::STORE_FILE))?;
    let released = release_leases(&store, Timestamp::now()).await?;
    if released > 0 {
        info!(released, "what ran when the process before was killed goes on");
    }
    Ok(store)
}

fn threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.server.threads.map_or(cores, usize::from)
}
