//! Messages in SQS, as JSON.
//!
//! A message that is none of ours is logged and left: it comes back until the queue's redrive policy takes it to the
//! dead-letter queue, where a person can look at it. It never keeps a receiver from the next one.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use accel_domain::task::LONGEST_DELAY;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::MessageSystemAttributeName as Attribute;
use tokio::time::Instant;
use tracing::warn;

use super::failed;
use crate::{Message, Received, StoreError, TaskQueue};

/// The longest that SQS waits for a message.
const LONGEST_POLL: Duration = Duration::from_secs(20);
/// The longest that SQS hides one: 12 hours.
const LONGEST_HIDDEN: Duration = Duration::from_secs(12 * 3600);
/// Between two looks, where less than a second is left to wait: SQS waits for whole seconds.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// An SQS queue, a standard one. Clones share the client.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: Arc<str>,
}

impl Queue {
    /// The queue at `url`. Nothing is asked of it yet.
    ///
    /// A connection has to live longer than the longest poll, 20 s: a client with a shorter read time-out never
    /// receives. Functions that are invoked with their messages never receive.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into().into() }
    }

    /// The next message, waiting up to `wait` for one. SQS may overlook one where it is not given a second.
    async fn poll(&self, wait: Duration, visibility: Duration) -> Result<Option<Found>, StoreError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&*self.url)
            .max_number_of_messages(1)
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(hidden_for(visibility))
            .message_system_attribute_names(Attribute::ApproximateReceiveCount);
        let got = request.send().await.map_err(|error| failed("ReceiveMessage", &error))?;
        Ok(got.messages.unwrap_or_default().pop().map(Found::from))
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.url).finish()
    }
}

impl TaskQueue for Queue {
    async fn send(&self, message: &Message, delay: Duration) -> Result<(), StoreError> {
        let body = serde_json::to_string(message).expect("a message of texts and numbers serialises");
        let request = self
            .client
            .send_message()
            .queue_url(&*self.url)
            .message_body(body)
            .delay_seconds(rounded_up(delay.min(LONGEST_DELAY)));
        request.send().await.map(drop).map_err(|error| failed("SendMessage", &error))
    }

    async fn receive(&self, wait: Duration, visibility: Duration) -> Result<Option<Received>, StoreError> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.poll(left.min(LONGEST_POLL), visibility).await? {
                Some(Found::Ours(received)) => return Ok(Some(received)),
                Some(Found::Foreign { id, error }) => {
                    warn!(message.id = %id, %error, "a message that is none of ours was left to the dead-letter queue");
                    if left.is_zero() {
                        return Ok(None);
                    }
                }
                None if left.is_zero() => return Ok(None),
                None if left < Duration::from_secs(1) => tokio::time::sleep(left.min(SHORT_WAIT)).await,
                None => {}
            }
        }
    }

    async fn acknowledge(&self, receipt: &str) -> Result<(), StoreError> {
        let request = self.client.delete_message().queue_url(&*self.url).receipt_handle(receipt);
        harmless_if_stale("DeleteMessage", request.send().await)
    }

    async fn keep(&self, receipt: &str, visibility: Duration) -> Result<(), StoreError> {
        let request = self
            .client
            .change_message_visibility()
            .queue_url(&*self.url)
            .receipt_handle(receipt)
            .visibility_timeout(hidden_for(visibility));
        harmless_if_stale("ChangeMessageVisibility", request.send().await)
    }
}

/// What came out of the queue.
enum Found {
    Ours(Received),
    Foreign { id: String, error: serde_json::Error },
}

impl From<aws_sdk_sqs::types::Message> for Found {
    fn from(message: aws_sdk_sqs::types::Message) -> Self {
        let receives = message.attributes.as_ref().and_then(|all| all.get(&Attribute::ApproximateReceiveCount));
        let receives = receives.and_then(|count| count.parse().ok()).unwrap_or(1);
        match serde_json::from_str(message.body().unwrap_or_default()) {
            Ok(ours) => {
                Self::Ours(Received { message: ours, receipt: message.receipt_handle.unwrap_or_default(), receives })
            }
            Err(error) => Self::Foreign { id: message.message_id.unwrap_or_default(), error },
        }
    }
}

/// A receipt that is not the latest one, or that of a message that is gone, settles nothing and harms nothing.
fn harmless_if_stale<T, E, R>(operation: &str, outcome: Result<T, SdkError<E, R>>) -> Result<(), StoreError>
where
    E: ProvideErrorMetadata + Error + 'static,
    R: fmt::Debug,
{
    let Err(error) = outcome else { return Ok(()) };
    match error.code().map(|code| code.rsplit('.').next().unwrap_or(code)) {
        Some("ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidParameterValue") => Ok(()),
        _ => Err(failed(operation, &error)),
    }
}

fn hidden_for(visibility: Duration) -> i32 {
    rounded_up(visibility.min(LONGEST_HIDDEN))
}

fn whole_seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

fn rounded_up(time: Duration) -> i32 {
    whole_seconds(time).saturating_add(i32::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_whole_seconds_and_never_too_short() {
        let rows = [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (899_001, 900), (5_000_000, 900)];
        for (millis, expected) in rows {
            assert_eq!(rounded_up(Duration::from_millis(millis).min(LONGEST_DELAY)), expected, "{millis} ms");
        }
        assert_eq!(hidden_for(Duration::MAX), 43_200);
    }

    #[test]
    fn what_is_no_message_of_ours_is_told_apart() {
        let ours = r#"{"task":"00000000-0000-4000-8000-000000000001","generation":1}"#;
        for (body, is_ours) in [(ours, true), ("", false), ("{}", false), ("hello", false), (r#"{"task":"x"}"#, false)]
        {
            let message = aws_sdk_sqs::types::Message::builder().body(body).message_id("m").receipt_handle("r").build();
            match Found::from(message) {
                Found::Ours(received) => assert!(is_ours && received.receipt == "r", "{body}"),
                Found::Foreign { id, .. } => assert!(!is_ours && id == "m", "{body}"),
            }
        }
    }
}
