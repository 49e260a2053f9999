//! Tasks, layer records and counters in one DynamoDB table, messages in SQS.
//!
//! What must hold is held by conditional writes; reads that decide something are consistent ones. The indexes lag, so
//! they only ever say where to look: each row that they name is read from the table before anything is done about it.
//!
//! The clients come ready made, with their endpoint, credentials and retries (the SDK's standard mode: a few attempts
//! with back-off for throttling, time-outs and 5xx). On top of that, what another writer gets in the way of is tried
//! 30 times with jitter; then it is [`StoreError::Unavailable`], as is everything else that AWS refuses.

mod keys;

mod documents;
mod requests;

mod table;

mod admission;
mod claims;
mod replace;

mod list;
mod sweep;
mod units;

mod layers;
mod targets;

mod counters;

mod queue;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

pub use counters::Counters;
pub use queue::Queue;
pub use table::Table;

use crate::StoreError;

/// How often a write is tried that others get in the way of: about 8 s in all.
const ROUNDS: u32 = 30;

/// Waits before the round after `round`: longer each time, and never as long as the others that wait.
async fn pause(round: u32) {
    let longest = Duration::from_millis(20) * (1 << round.min(5));
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}

/// Others were in the way in each round.
fn contended(operation: &str) -> StoreError {
    StoreError::Unavailable(format!("{operation}: others kept getting in the way; try again"))
}

/// What AWS, or the way there, said to `operation`. Neither holds secrets: requests and credentials are no part of it.
fn failed<E, R>(operation: &str, error: &SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    let reason = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => causes(error),
    };
    StoreError::Unavailable(format!("{operation}: {reason}"))
}

/// `error` and its causes in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
