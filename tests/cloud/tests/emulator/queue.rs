//! Messages that cannot be read, and messages that bring the converter down.

use std::collections::BTreeSet;

use accel_cloud_tests::target::PATIENCE;
use accel_cloud_tests::{Ask, Key, harbor};
use serde_json::{Value, json};

use crate::aws::invoke;
use crate::functions::environments;
use crate::site::{Site, Wanted};

const POISON: &str = "not a message of ours";

/// A batch as SQS hands it to a function.
fn batch(bodies: &[&str]) -> Value {
    let record = |(at, body): (usize, &&str)| {
        json!({
            "messageId": format!("message-{at}"), "receiptHandle": "r", "body": body, "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1756000000000", "SenderId": "s",
                "ApproximateFirstReceiveTimestamp": "1756000000001",
            },
            "messageAttributes": {}, "md5OfBody": "", "eventSource": "aws:sqs", "awsRegion": "eu-central-1",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:queue",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() })
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_poison_message_fails_alone_and_ends_as_a_dead_letter() {
    let parameters = ["BatchSize=10", "ConverterTimeout=10", "MessageVisibility=11", "MaxReceives=2"];
    let site = Site::new(Wanted { parameters: &parameters, ..Wanted::default() }).await;
    let unknown = r#"{"task":"00000000-0000-4000-8000-000000000009","generation":1}"#;
    let answer = invoke(site.stack.output("ConverterFunction"), &batch(&[unknown, POISON, unknown])).await;
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "message-1" }]), "{answer}");

    site.stack.send(POISON).await;
    let tags = ["v1", "v2", "v3"];
    let pushed = tags.map(|tag| {
        site.target.push("library/batch", tag, 1);
        site.target.pushed("library/batch", tag)
    });
    let ids = site.target.tell(&harbor(&pushed.each_ref(), 0)).await.ids();
    assert_eq!(BTreeSet::from_iter(&ids).len(), tags.len(), "a task for each: {ids:?}");
    for id in &ids {
        site.target.completed(id).await;
    }
    let letters = async || Some(site.stack.dead_letters().await).filter(|letters| !letters.is_empty());
    assert_eq!(PATIENCE.until("the poison is set aside", letters).await, [POISON]);
    PATIENCE.until("the queue is empty", async || (site.stack.messages().await == 0).then_some(())).await;
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_task_whose_message_is_a_dead_letter_runs_again_when_it_is_told_to() {
    let parameters = ["ConverterTimeout=10", "MessageVisibility=11", "MaxReceives=1"];
    let Site { stack, target } = Site::new(Wanted { parameters: &parameters, ..Wanted::default() }).await;
    target.slow("library/dead");
    target.push("library/dead", "v1", 1);
    let id = target.task(&harbor(&[&target.pushed("library/dead", "v1")], 0)).await;
    let converting = async || (target.shown(&id).await["phase"] == "convert").then_some(());
    PATIENCE.until("it runs", converting).await;
    environments(stack.output("ConverterFunction")).iter().for_each(crate::functions::Environment::kill);
    let letters = async || Some(stack.dead_letters().await).filter(|letters| !letters.is_empty());
    let letters = PATIENCE.until("the message is set aside", letters).await;
    assert!(letters.len() == 1 && letters[0].contains(&id), "{letters:?}");

    target.registry.clear_rules();
    // While the dead run's lease lasts, the task counts as running.
    let path = format!("/api/v1/conversions/{id}/retry");
    let again = async || {
        let answer = target.ask(Ask::new("POST", path.as_str()).auth(Key::Hook)).await;
        assert!(answer.status == 202 || answer.is_error(409, "ERR_CONFLICT", "running"), "{answer:?}");
        (answer.status == 202).then_some(())
    };
    PATIENCE.until("the task may run again", again).await;
    target.completed(&id).await;
    assert!(target.content().manifest("library/dead", "v1-esgz").is_some());
}
