//! The sweeper: each minute, sends what was never sent and forgets what has expired.

use std::sync::Arc;
use std::time::Duration;

use accel_converter::Converter;
use accel_domain::Timestamp;
use accel_tasks::Embedded;
use tracing::warn;

use super::ending::Ending;

const PERIOD: Duration = Duration::from_secs(60);
/// Tasks of one round; what is left is for the next.
const ROUND: usize = 10_000;

pub(super) async fn run(
    converter: Arc<Converter<Embedded, Embedded>>,
    store: Arc<Embedded>,
    ending: Ending,
) -> anyhow::Result<()> {
    while !ending.has_begun() {
        round(&converter, &store).await;
        tokio::select! { () = ending.begun() => {}, () = tokio::time::sleep(PERIOD) => {} }
    }
    Ok(())
}

async fn round(converter: &Converter<Embedded, Embedded>, store: &Embedded) {
    if let Err(error) = converter.sweep(ROUND).await {
        warn!(%error, "the sweeper failed; it tries again in a minute");
    }
    if let Err(error) = store.purge(Timestamp::now()).await {
        warn!(%error, "what has expired could not be removed; it is tried again in a minute");
    }
}
