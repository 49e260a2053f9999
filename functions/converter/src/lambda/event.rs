//! What the function is invoked with, and what it answers.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// An invocation's event.
#[derive(Debug)]
pub(super) enum Event {
    /// `{"sweep": true}`, from the schedule.
    Sweep,
    /// Messages of the queue.
    Batch(Vec<SqsMessage>),
}

/// The answer to it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Batch(SqsBatchResponse),
    Swept {},
}

#[derive(Deserialize)]
struct Either {
    sweep: Option<bool>,
    #[serde(rename = "Records")]
    records: Option<Vec<SqsMessage>>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Either::deserialize(deserializer)? {
            Either { sweep: Some(true), records: None } => Ok(Self::Sweep),
            Either { sweep: None, records: Some(records) } => Ok(Self::Batch(records)),
            Either { .. } => Err(D::Error::custom("the event is neither messages of a queue nor {\"sweep\": true}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_batches_or_the_schedule_s() {
        let read = |text: &str| serde_json::from_str::<Event>(text);
        assert!(matches!(read(include_str!("../../events/sweep.json")), Ok(Event::Sweep)));
        let batch = read(include_str!("../../events/message.json"));
        assert!(matches!(batch, Ok(Event::Batch(records)) if records.len() == 1));
        for text in ["{}", "[]", r#"{"sweep":false}"#, r#"{"sweep":true,"Records":[]}"#, r#"{"source":"aws.events"}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn answers_are_what_lambda_expects() {
        let batch = serde_json::to_string(&Answer::Batch(SqsBatchResponse::default())).unwrap();
        assert_eq!(batch, r#"{"batchItemFailures":[]}"#);
        assert_eq!(serde_json::to_string(&Answer::Swept {}).unwrap(), "{}");
    }
}
