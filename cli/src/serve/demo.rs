//! `accelctl serve --demo`: a registry with an image of its own, the push event that Harbor would send, and the
//! conversion, for a first look.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::Duration;

use accel_domain::config::{Config, LogFormat, LogLevel, parse};
use accel_domain::task::{Shown, Status};
use accel_image::Digest;
use accel_registry_server::{RegistryServer, demo};
use accel_runtime::telemetry;
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Client;
use serde_json::json;

use super::Service;
use super::ending::Ending;
use crate::out::out;
use crate::show;

const REPOSITORY: &str = "library/demo";
const TAG: &str = "1.0";
const DOCUMENTS: [(&str, &[u8]); 2] = [
    ("README.md", include_bytes!("../../../README.md")),
    ("ARCHITECTURE.md", include_bytes!("../../../docs/ARCHITECTURE.md")),
];

/// Runs the demo, and serves until it is told to stop.
pub(super) async fn run(ending: Ending, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    telemetry::init(LogFormat::Text, LogLevel::Warn)?;
    let registry = RegistryServer::start(([127, 0, 0, 1], 0).into()).await?;
    let host = registry.host();
    out!("A registry of the demo listens on {host}; its image is assembled now.");
    let executable = std::fs::read(std::env::current_exe()?).context("the running executable cannot be read")?;
    let parts = demo::Parts { executable: &executable, documents: &DOCUMENTS };
    let digest = demo::image(registry.content(), REPOSITORY, TAG, parts)?;

    let state = tempfile::tempdir()?;
    let mut config = config(&host, state.path())?;
    config.server.listen = listen.unwrap_or(config.server.listen);
    let service = Service::start(config, ending.clone()).await?;
    let url = format!("{}/api/v1/conversions", service.address);
    out!("Accel serves on {}. It is told what a registry tells it after a push:", service.address);
    let source = format!("{host}/{REPOSITORY}:{TAG}");
    out!("  PUSH_ARTIFACT {source}");
    if let Some(task) = ending.unless_begun(converted(&url, &source, digest)).await? {
        told(&task, &url)?;
    }
    let result = service.run_to_the_end().await;
    registry.stop().await;
    result
}

/// The configuration that a user would write for this registry.
fn config(host: &str, state: &std::path::Path) -> anyhow::Result<Config> {
    let text = format!(
        "server: {{ state: {state:?}, log: {{ level: warn }} }}\n\
         registries:\n  \"{host}\": {{ plain_http: true }}\n\
         rules:\n  - convert: [{{ format: estargz, target: \"{{repository}}:{{tag}}-esgz\" }}]\n"
    );
    Ok(parse(&text, "the demo's configuration")?)
}

/// The task of the push, once it has ended.
async fn converted(url: &str, source: &str, digest: Digest) -> anyhow::Result<Shown> {
    let client = Client::builder().no_proxy().tls_certs_only([]).build()?;
    let id = push_event(&client, url, source, digest).await?;
    follow(&client, &format!("{url}/{id}")).await
}

/// Sends Harbor's push event; answers the id of the task.
async fn push_event(client: &Client, url: &str, source: &str, digest: Digest) -> anyhow::Result<String> {
    let (project, name) = REPOSITORY.split_once('/').context("the demo's repository is in a project")?;
    let event = json!({
        "type": "PUSH_ARTIFACT",
        "occur_at": 1_700_000_000,
        "operator": "demo",
        "event_data": {
            "resources": [{ "digest": digest, "tag": TAG, "resource_url": source }],
            "repository": { "name": name, "namespace": project, "repo_full_name": REPOSITORY, "repo_type": "public" },
        },
    });
    let answer = client.post(url).header("content-type", "application/json").body(event.to_string());
    let answer = answer.send().await?.error_for_status()?;
    let id = answer.headers().get("x-accel-task-id").and_then(|id| id.to_str().ok());
    Ok(id.context("the webhook did not name a task")?.to_owned())
}

/// Shows the progress of a task until it has ended.
async fn follow(client: &Client, url: &str) -> anyhow::Result<Shown> {
    let shown = std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("  [{bar:30}] {pos}/{len} layers, {msg}")?.progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(None, target).with_style(style);
    loop {
        let task: Shown = serde_json::from_slice(&client.get(url).send().await?.error_for_status()?.bytes().await?)?;
        bar.set_length(task.layers_total.into());
        bar.set_position((task.layers_converted + task.layers_reused + task.layers_mounted + task.layers_kept).into());
        bar.set_message(format!("{:?}", task.phase).to_lowercase());
        if task.status != Status::Processing {
            bar.finish_and_clear();
            return Ok(task);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn told(task: &Shown, url: &str) -> anyhow::Result<()> {
    if task.status == Status::Failed {
        anyhow::bail!("the conversion failed: {}", task.reason);
    }
    let (source, target) = (&task.source, &task.target);
    let host = target.split('/').next().unwrap_or_default();
    out!(
        "  COMPLETED in {}: {} -> {}, {} layers",
        show::time((task.duration_seconds * 1000.0) as u128),
        show::size(task.source_size),
        show::size(task.target_size),
        task.layers_total
    );
    out!("The accelerated image is {target}, beside its source.\n");
    out!("The task list: {url}");
    out!("Try next, in another terminal:");
    out!("  accelctl task list");
    out!("  accelctl verify --plain-http {host} {source} {target}");
    out!("  accelctl inspect --plain-http {host} {target}");
    out!("  skopeo inspect --tls-verify=false docker://{target}");
    out!("Ctrl-C stops the demo; nothing of it stays.");
    Ok(())
}
