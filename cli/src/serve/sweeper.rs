//! The sweeper: each minute, sends what was never sent and forgets what has expired.

use std::sync::Arc;
use std::time::Duration;

use accel_domain::Timestamp;
use accel_domain::task::RetryPolicy;
use accel_tasks::{Embedded, sweep};
use tracing::{info, warn};

use super::ending::Ending;

const PERIOD: Duration = Duration::from_secs(60);
/// Tasks of one round; what is left is for the next.
const ROUND: usize = 10_000;

pub(super) async fn run(store: Arc<Embedded>, policy: RetryPolicy, ending: Ending) -> anyhow::Result<()> {
    while !ending.has_begun() {
        round(&store, &policy).await;
        tokio::select! { () = ending.begun() => {}, () = tokio::time::sleep(PERIOD) => {} }
    }
    Ok(())
}

async fn round(store: &Embedded, policy: &RetryPolicy) {
    let now = Timestamp::now();
    match sweep(store, store, policy, ROUND, now).await {
        Ok(swept) if swept.enqueued + swept.failed > 0 => {
            info!(enqueued = swept.enqueued, failed = swept.failed, "swept");
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "the sweeper failed; it tries again in a minute"),
    }
    if let Err(error) = store.purge(now).await {
        warn!(%error, "what has expired could not be removed; it is tried again in a minute");
    }
}
