//! A batch of messages: all at once, each for itself. One that cannot be settled now is put off; one that cannot be read,
//! or that no attempt settles, is returned; the others are not.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use accel_domain::Timestamp;
use accel_runtime::Metrics;
use accel_tasks::{Message, TaskQueue};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsMessage};
use futures::FutureExt as _;
use futures::future::join_all;
use tracing::{Instrument as _, error, info_span, warn};

use crate::Verdict;

/// How long a message that cannot be settled yet is put off.
const PUT_OFF: Duration = Duration::from_secs(60);

/// Settles `records` with `settle`, and says which of them are to come back.
pub(super) async fn settle(records: &[SqsMessage], settle: impl AsyncFn(&Message) -> Verdict) -> SqsBatchResponse {
    let verdicts = join_all(records.iter().map(|record| one(record, &settle))).await;
    let returned = records.iter().zip(verdicts).filter(|(_, verdict)| *verdict != Verdict::Acknowledge);
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = returned.map(|(record, _)| failure(record)).collect();
    response
}

async fn one(record: &SqsMessage, settle: impl AsyncFn(&Message) -> Verdict) -> Verdict {
    let span = info_span!("message", message.id = id(record));
    let settled = async {
        let body = record.body.as_deref().unwrap_or_default();
        match serde_json::from_str(body) {
            Ok(message) => settle(&message).await,
            Err(reason) => {
                error!(%reason, "a message is none of ours: it comes back until it is put into the dead-letter queue");
                Verdict::Return
            }
        }
    };
    AssertUnwindSafe(settled.instrument(span.clone())).catch_unwind().await.unwrap_or_else(|_| {
        span.in_scope(|| error!("an internal error: the message comes back"));
        Verdict::Return
    })
}

/// Does for `message` what `verdict` says. To put it off, it is sent again, for later, in place of the one that was
/// received: so it is not counted as one that brought the function down. Nor does the queue know then for how long it has
/// been put off, so each time is counted here.
pub(super) async fn carry_out(
    verdict: Verdict,
    message: &Message,
    queue: &impl TaskQueue,
    metrics: &Metrics,
) -> Verdict {
    if verdict != Verdict::PutOff {
        return verdict;
    }
    match queue.send(message, PUT_OFF).await {
        Ok(()) => {
            metrics.message_put_off();
            Verdict::Acknowledge
        }
        Err(error) => {
            warn!(%error, task.id = %message.task, "a message could not be put off: it comes back");
            Verdict::Return
        }
    }
}

fn id(record: &SqsMessage) -> &str {
    record.message_id.as_deref().unwrap_or_default()
}

fn failure(record: &SqsMessage) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id(record).to_owned();
    failure
}

/// How long a message has been in the queue.
pub(super) fn waited(record: &SqsMessage, now: Timestamp) -> Option<Duration> {
    let sent = record.attributes.get("SentTimestamp")?.parse().ok()?;
    Duration::try_from(now.duration_since(Timestamp::from_millisecond(sent).ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use accel_runtime::metrics::{Counted, Outlet};
    use accel_tasks::{Received, StoreError};

    use super::*;

    const MESSAGE: &str = include_str!("../../events/message.json");
    const POISON: &str = include_str!("../../events/poison.json");

    fn records(text: &str) -> Vec<SqsMessage> {
        serde_json::from_str::<aws_lambda_events::sqs::SqsEvent>(text).unwrap().records
    }

    fn record(id: &str, generation: u32) -> SqsMessage {
        let mut record = records(MESSAGE).remove(0);
        record.message_id = Some(id.to_owned());
        let body = record.body.as_deref().unwrap().replace("\"generation\":1", &format!("\"generation\":{generation}"));
        assert!(generation == 1 || Some(&body) != record.body.as_ref());
        record.body = Some(body);
        record
    }

    fn returned(response: &SqsBatchResponse) -> Vec<&str> {
        response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
    }

    #[tokio::test]
    async fn each_message_has_its_own_verdict() {
        let mut batch = vec![record("good", 1), record("panics", 2), record("returned", 3)];
        batch.extend(records(POISON));
        batch.push(record("good too", 4));
        let (poison, seen) = (batch[3].message_id.clone().unwrap(), Mutex::new(Vec::new()));
        let verdict = async |message: &Message| {
            tokio::task::yield_now().await;
            seen.lock().unwrap().push(message.generation);
            match message.generation {
                2 => panic!("as it was asked to"),
                3 => Verdict::Return,
                _ => Verdict::Acknowledge,
            }
        };
        let response = settle(&batch, verdict).await;
        assert_eq!(returned(&response), ["panics", "returned", poison.as_str()]);
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3, 4], "all that can be read were settled");
    }

    /// Takes messages, or does not.
    #[derive(Default)]
    struct Outbox {
        sent: Mutex<Vec<(Message, Duration)>>,
        is_closed: bool,
    }

    impl TaskQueue for Outbox {
        async fn send(&self, message: &Message, delay: Duration) -> Result<(), StoreError> {
            if self.is_closed {
                return Err(StoreError::Unavailable("closed".to_owned()));
            }
            self.sent.lock().unwrap().push((message.clone(), delay));
            Ok(())
        }

        async fn receive(&self, _: Duration, _: Duration) -> Result<Option<Received>, StoreError> {
            unreachable!("the function is invoked with its messages")
        }

        async fn acknowledge(&self, _: &str) -> Result<(), StoreError> {
            unreachable!("its answer acknowledges")
        }

        async fn keep(&self, _: &str, _: Duration) -> Result<(), StoreError> {
            unreachable!("the queue hides them for long enough")
        }
    }

    /// How often a message was put off.
    #[derive(Default)]
    struct PutOffs(AtomicUsize);

    impl Outlet for PutOffs {
        fn count(&self, counted: &Counted) {
            assert!(matches!(counted, Counted::PutOff), "{counted:?}");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_settled_yet_is_sent_again_and_that_is_counted() {
        let batch: Vec<_> = [record("a", 1), record("b", 2)].into_iter().chain(records(POISON)).collect();
        let poison = batch[2].message_id.clone().unwrap();
        let (open, put_offs) = (Outbox::default(), Arc::new(PutOffs::default()));
        let metrics = Metrics::with(vec![put_offs.clone()]);
        let put_off = async |message: &Message| carry_out(Verdict::PutOff, message, &open, &metrics).await;
        let response = settle(&batch, put_off).await;
        assert_eq!(returned(&response), [poison.as_str()]);
        assert_eq!(put_offs.0.load(Ordering::Relaxed), 2);
        let sent = open.sent.into_inner().unwrap();
        let bodies: Vec<Message> =
            batch[..2].iter().map(|record| serde_json::from_str(record.body.as_deref().unwrap()).unwrap()).collect();
        assert_eq!(sent.iter().map(|(message, _)| message.clone()).collect::<Vec<_>>(), bodies);
        assert!(sent.iter().all(|(_, delay)| *delay == PUT_OFF));

        let closed = Outbox { is_closed: true, ..Outbox::default() };
        let put_off = async |message: &Message| carry_out(Verdict::PutOff, message, &closed, &metrics).await;
        assert_eq!(returned(&settle(&batch, put_off).await), ["a", "b", poison.as_str()]);
        assert_eq!(put_offs.0.load(Ordering::Relaxed), 2, "these come back");
    }

    /// So that the queue counts how often it was received, and gives it up, which raises the alarm.
    #[tokio::test]
    async fn what_no_attempt_settles_is_returned_as_it_is() {
        let (open, put_offs) = (Outbox::default(), Arc::new(PutOffs::default()));
        let metrics = Metrics::with(vec![put_offs.clone()]);
        let batch = [record("hopeless", 1), record("good", 2)];
        let settled = async |message: &Message| {
            let verdict = if message.generation == 1 { Verdict::Return } else { Verdict::Acknowledge };
            carry_out(verdict, message, &open, &metrics).await
        };
        assert_eq!(returned(&settle(&batch, settled).await), ["hopeless"]);
        assert_eq!((open.sent.into_inner().unwrap().len(), put_offs.0.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn messages_are_settled_at_the_same_time() {
        let both = tokio::sync::Barrier::new(2);
        let verdict = async |_: &Message| {
            both.wait().await;
            Verdict::Acknowledge
        };
        let response = settle(&[record("a", 1), record("b", 1)], verdict).await;
        assert!(returned(&response).is_empty());
    }

    #[test]
    fn the_queue_says_since_when_a_message_waits() {
        let mut record = record("a", 1);
        let sent: i64 = record.attributes["SentTimestamp"].parse().unwrap();
        let now = Timestamp::from_millisecond(sent + 1500).unwrap();
        assert_eq!(waited(&record, now), Some(Duration::from_millis(1500)));
        for text in ["", "soon", "99999999999999999"] {
            record.attributes.insert("SentTimestamp".to_owned(), text.to_owned());
            assert_eq!(waited(&record, now), None, "{text}");
        }
        record.attributes.clear();
        assert_eq!(waited(&record, now), None);
    }
}
