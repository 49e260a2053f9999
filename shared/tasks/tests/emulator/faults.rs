//! How many requests an operation takes, and what becomes of it where the network or the table fails.

use std::time::Duration;

use accel_domain::task::{RetryPolicy, Start, Unit, UnitKey};
use accel_domain::{Format, Task, Timestamp};
use accel_image::{Descriptor, Digest};
use accel_tasks::{Admission, LayerCache, LayerKey, LayerOutcome, LayerRecord, StoreError, TaskStore};

use crate::further::{id, later, push};
use crate::stage::{Stage, fresh};
use crate::watch::Fault;

const DAY: Duration = Duration::from_secs(24 * 3600);
const THROTTLED: Fault = Fault::Refused(r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}"#);
const CONFLICT: Fault = Fault::Refused(r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException"}"#);
const CANCELLED: Fault = Fault::Refused(
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "CancellationReasons":[{"Code":"None"},{"Code":"TransactionConflict"},{"Code":"None"}]}"#,
);
const INVALID: Fault = Fault::Refused(
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "CancellationReasons":[{"Code":"ValidationError","Message":"too large"}]}"#,
);
const DENIED: Fault = Fault::Refused(
    r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized to perform it"}"#,
);

async fn admitted(stage: &Stage) -> Task {
    let task = push(1);
    assert_eq!(stage.table.admit(&task).await.unwrap(), Admission::Created);
    stage.watch.seen();
    task
}

fn start(task: &mut Task, now: Timestamp) -> Result<(), StoreError> {
    assert_eq!(task.start(1, "a", &RetryPolicy::default(), now), Start::Run);
    Ok(())
}

fn cancel(task: &mut Task, now: Timestamp) -> Result<(), StoreError> {
    Ok(task.cancel(&RetryPolicy::default(), now)?)
}

fn unit(task: &Task) -> Unit {
    Unit::new(UnitKey { task: task.id.clone(), generation: 1, layer: Digest::of(b"layer") }, task.created)
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn operations_take_the_requests_that_the_documentation_says() {
    let stage = fresh().await;
    let (table, task, now) = (&stage.table, push(1), Timestamp::now());
    table.admit(&task).await.unwrap();
    assert_eq!(stage.watch.seen(), ["TransactWriteItems"]);
    table.admit(&Task { id: id(2), ..task.clone() }).await.unwrap();
    assert_eq!(stage.watch.seen(), ["TransactWriteItems", "BatchGetItem", "BatchGetItem"], "a delivery again");
    table.update(&task.id, now, |task| start(task, now)).await.unwrap();
    assert_eq!(stage.watch.seen(), ["GetItem", "PutItem"]);
    let end = |task: &mut Task| Ok(task.fail("a", 1, "x", &RetryPolicy::default(), now)?);
    table.update(&task.id, now, end).await.unwrap();
    assert_eq!(stage.watch.seen(), ["GetItem", "GetItem", "TransactWriteItems"]);
    table.replace_unit(&unit(&task)).await.unwrap();
    assert_eq!(stage.watch.seen(), ["PutItem"]);

    let key = LayerKey {
        host: "h.example".to_owned(),
        project: "p".to_owned(),
        source: Digest::of(b"layer"),
        format: Format::Estargz,
        version: 1,
        options: Digest::of(b"options"),
    };
    let record = LayerRecord {
        descriptor: Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", Digest::of(b"result"), 7),
        diff_id: Digest::of(b"diff id"),
        outcome: LayerOutcome::Converted,
        reason: String::new(),
        repository: "p/app".to_owned(),
    };
    table.remember_layer(&key, &record, now).await.unwrap();
    assert_eq!(stage.watch.seen(), ["PutItem"]);
    for (at, expected) in
        [(now, vec!["GetItem"]), (later(now, DAY), vec!["GetItem", "PutItem"]), (later(now, DAY), vec!["GetItem"])]
    {
        assert_eq!(table.find_layer(&key, at).await.unwrap().as_ref(), Some(&record));
        assert_eq!(stage.watch.seen(), expected, "{at}");
    }
    let swept = table.to_sweep(&RetryPolicy::default(), 10, later(now, DAY)).await.unwrap();
    assert_eq!((swept, stage.watch.seen().len()), (vec![], 8));
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_write_whose_answer_was_lost_is_not_taken_for_anothers() {
    let stage = fresh().await;
    let (table, task, now) = (&stage.table, push(1), Timestamp::now());
    let lost = [Fault::AnswerLost];
    stage.watch.meet("TransactWriteItems", &lost);
    assert_eq!(table.admit(&task).await.unwrap(), Admission::Created);
    for (operation, revision) in [("PutItem", 1), ("TransactWriteItems", 2)] {
        stage.watch.meet(operation, &lost);
        let change = |task: &mut Task| {
            if revision == 1 {
                start(task, now)
            } else {
                task.stopped("a", 1, &RetryPolicy::default(), now).map_err(Into::into)
            }
        };
        let (written, ()) = table.update(&task.id, now, change).await.unwrap();
        assert_eq!((written.revision, table.get(&task.id, now).await.unwrap()), (revision, Some(written)));
    }
    stage.watch.meet("PutItem", &lost);
    table.replace_unit(&unit(&task)).await.unwrap();
    stage.watch.seen();
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn what_another_write_is_in_the_way_of_is_tried_again() {
    let stage = fresh().await;
    let now = Timestamp::now();
    let (table, task) = (&stage.table, push(1));
    // More often than the SDK tries by itself.
    stage.watch.meet("TransactWriteItems", &[CANCELLED, CANCELLED, CANCELLED, CANCELLED]);
    assert_eq!(table.admit(&task).await.unwrap(), Admission::Created);
    stage.watch.meet("PutItem", &[CONFLICT, THROTTLED, THROTTLED, THROTTLED, THROTTLED]);
    table.update(&task.id, now, |task| start(task, now)).await.unwrap();
    stage.watch.meet("TransactWriteItems", &[CANCELLED, THROTTLED, THROTTLED, THROTTLED, CANCELLED]);
    table.update(&task.id, now, |task| Ok(task.fail("a", 1, "x", &RetryPolicy::default(), now)?)).await.unwrap();
    assert_eq!(table.live(&task.live_key()).await.unwrap(), None);
    let target = "h.example/p/app:1".parse().unwrap();
    stage.watch.meet("PutItem", &[CONFLICT]);
    assert!(table.lease_target(&target, "a", DAY, now).await.unwrap());
    stage.watch.meet("DeleteItem", &[CONFLICT]);
    table.release_target(&target, "a").await.unwrap();
    assert!(table.lease_target(&target, "b", DAY, now).await.unwrap());
    stage.watch.seen();
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn what_stays_refused_is_said_at_once_and_why() {
    let stage = fresh().await;
    let now = Timestamp::now();
    let task = admitted(&stage).await;
    for (operation, fault, expected) in [
        ("TransactWriteItems", INVALID, "TransactWriteItems: ValidationError: too large"),
        ("TransactWriteItems", DENIED, "TransactWriteItems: AccessDeniedException: not authorized to perform it"),
        ("GetItem", DENIED, "GetItem: AccessDeniedException: not authorized to perform it"),
    ] {
        stage.watch.meet(operation, &[fault]);
        let said = stage.table.update(&task.id, now, |task| cancel(task, now)).await;
        assert!(matches!(&said, Err(StoreError::Unavailable(reason)) if reason == expected), "{said:?}");
        assert_eq!(stage.watch.seen().iter().filter(|seen| *seen == operation).count(), 1, "{operation}");
    }
}
