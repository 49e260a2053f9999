//! Workers: each settles one message at a time.

use std::sync::Arc;
use std::time::Duration;

use accel_converter::{Converter, Verdict};
use accel_pipeline::{Stop, StopReason};
use accel_tasks::{Embedded, Received, TaskQueue};
use tracing::warn;

use super::ending::Ending;

/// How long a received message stays hidden unless it is kept.
const VISIBILITY: Duration = Duration::from_secs(60);
/// How often it is kept while it is settled.
const KEEP: Duration = Duration::from_secs(20);
/// How long a worker waits for a message before it looks again.
const WAIT: Duration = Duration::from_secs(60);
/// How long a worker rests after the queue has failed.
const REST: Duration = Duration::from_secs(1);

/// Settles messages until the service ends; then what runs may finish within `grace`, or is handed back.
pub(super) async fn run(
    converter: Arc<Converter<Embedded, Embedded>>,
    queue: Arc<Embedded>,
    ending: Ending,
    grace: Duration,
) -> anyhow::Result<()> {
    loop {
        let received = tokio::select! {
            biased;
            () = ending.begun() => return Ok(()),
            received = queue.receive(WAIT, VISIBILITY) => received,
        };
        match received {
            Ok(Some(received)) => settle(&converter, &queue, received, &ending, grace).await,
            Ok(None) => {}
            Err(error) => {
                warn!(%error, "no message could be received");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn settle(
    converter: &Arc<Converter<Embedded, Embedded>>,
    queue: &Arc<Embedded>,
    Received { message, receipt, .. }: Received,
    ending: &Ending,
    grace: Duration,
) {
    let stop = Arc::new(Stop::new());
    let (running, asked) = (Arc::clone(converter), Arc::clone(&stop));
    let settling = async move { running.settle(&message, &asked).await };
    let stopping = async {
        ending.begun().await;
        tokio::time::sleep(grace).await;
        stop.stop(StopReason::Shutdown);
        std::future::pending().await
    };
    let verdict = tokio::select! {
        verdict = settling => verdict,
        verdict = keep(Arc::clone(queue), receipt.clone()) => verdict,
        verdict = stopping => verdict,
    };
    if verdict == Verdict::Acknowledge
        && let Err(error) = queue.acknowledge(&receipt).await
    {
        warn!(%error, "a settled message could not be acknowledged; it comes back and is void");
    }
}

/// Keeps the message hidden, for ever.
async fn keep(queue: Arc<Embedded>, receipt: String) -> Verdict {
    loop {
        tokio::time::sleep(KEEP).await;
        if let Err(error) = queue.keep(&receipt, VISIBILITY).await {
            warn!(%error, "a message could not be kept hidden; its task's lease protects it");
        }
    }
}
