//! Sends push events to a webhook in an open loop: at the times of a plan, whether or not earlier ones were answered.
//! Latency counts from the time an event was due, so that one that had to wait for its connection is not flattered.

#![allow(clippy::print_stdout, reason = "a program for another program")]

mod connection;
mod latency;

use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tokio::time::Instant;

use connection::Connection;
use latency::Latencies;

/// Time for all connections to be made before the first event is due.
const LEAD: Duration = Duration::from_millis(200);

/// Sends events, and prints how long their answers took as JSON.
#[derive(Debug, Parser)]
struct Args {
    /// Where the webhook listens: ADDRESS:PORT.
    address: String,
    /// The registry that the events come from.
    registry: String,
    /// The value of their `Authorization` header.
    #[arg(long)]
    authorization: Option<String>,
    /// Events a second.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// For so many seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Over so many connections.
    #[arg(long, default_value_t = 64)]
    connections: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let began = Instant::now() + LEAD;
    let mut senders = tokio::task::JoinSet::new();
    for first in 0..args.connections {
        let connection = Connection::open(&args.address, args.authorization.as_deref()).await?;
        senders.spawn(send(connection, args.registry.clone(), plan(&args, first), began));
    }
    let mut all = Latencies::default();
    while let Some(sent) = senders.join_next().await {
        all.add(sent??);
    }
    let took = began.elapsed().as_secs_f64();
    let ms = |part| all.quantile(part).as_secs_f64() * 1000.0;
    println!(
        "{}",
        json!({
            "sent": all.count(), "refused": all.refused, "rate": args.rate, "connections": args.connections,
            "achieved_rate": all.count() as f64 / took, "p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99),
            "p999_ms": ms(0.999), "max_ms": ms(1.0), "late_sends": all.late,
        })
    );
    Ok(())
}

/// The events of one connection: their numbers, and when they are due.
fn plan(args: &Args, first: u32) -> impl Iterator<Item = (u32, Duration)> + use<> {
    let rate = args.rate;
    let numbers = (first..rate * args.seconds).step_by(args.connections as usize);
    numbers.map(move |number| (number, Duration::from_secs(1) * number / rate))
}

async fn send(
    mut connection: Connection,
    registry: String,
    plan: impl Iterator<Item = (u32, Duration)>,
    began: Instant,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    for (number, after) in plan {
        let due = began + after;
        if Instant::now() >= due {
            latencies.late += 1;
        }
        tokio::time::sleep_until(due).await;
        let status = connection.post(&event(&registry, number)).await?;
        latencies.push(due.elapsed(), status == 200);
    }
    Ok(latencies)
}

/// What Harbor sends when an image is pushed; each event is about another image.
fn event(registry: &str, number: u32) -> String {
    let digest = format!("sha256:{number:064x}");
    let name = format!("app-{number}");
    json!({
        "type": "PUSH_ARTIFACT", "occur_at": 1_756_000_000, "operator": "somebody",
        "event_data": {
            "resources": [{ "digest": digest, "tag": "1.0", "resource_url": format!("{registry}/bench/{name}:1.0") }],
            "repository": { "name": name, "namespace": "bench", "repo_full_name": format!("bench/{name}"),
                            "repo_type": "private", "date_created": 1_756_000_000 },
        },
    })
    .to_string()
}
