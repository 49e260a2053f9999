//! What the suite does not ask of every store: counters, messages that are none of ours, and a table that somebody has
//! put a hand to.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use accel_domain::task::{NewTask, RetryPolicy, Start, TaskKind};
use accel_domain::{Format, Output, Task, TaskId, Timestamp};
use accel_image::Digest;
use accel_tasks::{Admission, ListQuery, Message, StoreError, TaskQueue, TaskStore};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures::future::try_join_all;

use crate::stage::{Stage, fresh};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn id(n: u8) -> TaskId {
    format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap()
}

/// The `n`-th push of the same image, each a delivery of its own.
pub(crate) fn push(n: u8) -> Task {
    let new = NewTask {
        id: id(n),
        kind: TaskKind::Convert,
        written: "h.example/p/app:1".to_owned(),
        source: "h.example/p/app:1".parse().unwrap(),
        digest: Some(Digest::of(b"content")),
        target: "h.example/p/app:1-esgz".parse().unwrap(),
        output: Output::new(Format::Estargz.default_options()),
        rule_hash: Digest::of(b"rule"),
        delivery: Some(format!("delivery {n}")),
    };
    Task::new(new, Timestamp::now())
}

/// Another push of the image of `task`, by the same delivery.
fn again(task: &Task, n: u8) -> Task {
    Task { id: id(n), ..task.clone() }
}

/// Another image.
fn other(n: u8) -> Task {
    Task { digest: Some(Digest::of(&[n])), ..push(n) }
}

pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap()
}

impl Stage {
    async fn item(&self, partition: &str, sort: &str) -> Option<HashMap<String, AttributeValue>> {
        let key = |text: &str| AttributeValue::S(text.to_owned());
        let request = self.dynamodb.get_item().table_name(&self.name).key("pk", key(partition)).key("sk", key(sort));
        request.consistent_read(true).send().await.unwrap().item
    }

    /// Somebody deletes the item of a task.
    async fn delete_by_hand(&self, id: &TaskId) {
        let key = |text: String| AttributeValue::S(text);
        let request = self.dynamodb.delete_item().table_name(&self.name).key("pk", key(format!("task#{id}")));
        request.key("sk", key("task".to_owned())).send().await.unwrap();
    }

    /// Somebody breaks the record of a task.
    async fn break_by_hand(&self, id: &TaskId) {
        let mut item = self.item(&format!("task#{id}"), "task").await.unwrap();
        item.insert("task".to_owned(), AttributeValue::S("{".to_owned()));
        self.dynamodb.put_item().table_name(&self.name).set_item(Some(item)).send().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn counters_add_up_over_many_writers() {
    let stage = fresh().await;
    let counters = stage.table.counters();
    assert_eq!(counters.totals().await.unwrap(), BTreeMap::new());
    let labelled = "conversions{format=\"estargz\",outcome=\"completed\"}";
    let counts = [("bytes", 1 << 50), (labelled, 1), ("nothing", 0)];
    try_join_all((0..40).map(|_| counters.add(&counts))).await.unwrap();
    let many: Vec<String> = (0..120).map(|n| format!("counter {n}")).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|name| (name.as_str(), 2)).collect();
    counters.add(&many).await.unwrap();
    let totals = counters.totals().await.unwrap();
    assert_eq!((totals["bytes"], totals[labelled], totals.get("nothing")), (40 << 50, 40, None));
    assert_eq!(totals.iter().filter(|(name, total)| name.starts_with("counter ") && **total == 2).count(), 120);
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_message_that_is_none_of_ours_is_passed_over_and_stays() {
    let stage = fresh().await;
    for body in ["hello", "{}", r#"{"task":"../../etc/passwd","generation":1}"#] {
        stage.sqs.send_message().queue_url(&stage.url).message_body(body).send().await.unwrap();
    }
    let ours = Message { task: id(1), generation: 1, part: 0, layer: None };
    stage.queue.send(&ours, Duration::ZERO).await.unwrap();
    let received = stage.queue.receive(Duration::from_secs(10), Duration::from_secs(2)).await.unwrap().unwrap();
    assert_eq!(received.message, ours);
    stage.queue.acknowledge(&received.receipt).await.unwrap();
    assert_eq!(stage.queue.receive(Duration::from_secs(1), Duration::ZERO).await.unwrap(), None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let left = stage.sqs.receive_message().queue_url(&stage.url).max_number_of_messages(10).send().await.unwrap();
    assert_eq!(left.messages.unwrap_or_default().len(), 3, "they are for the dead-letter queue");
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_task_that_was_deleted_by_hand_blocks_nothing() {
    let stage = fresh().await;
    let first = push(1);
    assert_eq!(stage.table.admit(&first).await.unwrap(), Admission::Created);
    stage.delete_by_hand(&first.id).await;
    // Neither its delivery nor its key: both claims are still there.
    let second = again(&first, 2);
    assert_eq!(stage.table.admit(&second).await.unwrap(), Admission::Created);
    assert!(matches!(stage.table.admit(&again(&first, 3)).await.unwrap(), Admission::Joined(task) if task.id == id(2)));

    // A task that resolves to its key takes that over too.
    stage.delete_by_hand(&second.id).await;
    let now = Timestamp::now();
    let unresolved = Task { digest: None, ..push(4) };
    assert_eq!(stage.table.admit(&unresolved).await.unwrap(), Admission::Created);
    let resolve = |task: &mut Task| {
        assert_eq!(task.start(1, "a", &RetryPolicy::default(), now), Start::Run);
        Ok(task.resolve("a", 1, Digest::of(b"content"))?)
    };
    stage.table.update(&unresolved.id, now, resolve).await.unwrap();
    assert_eq!(stage.table.live(&first.live_key()).await.unwrap(), Some(unresolved.id));
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_broken_task_does_not_keep_others_from_being_swept() {
    let stage = fresh().await;
    let (broken, whole) = (other(1), other(2));
    for task in [&broken, &whole] {
        assert_eq!(stage.table.admit(task).await.unwrap(), Admission::Created);
    }
    stage.break_by_hand(&broken.id).await;
    let (policy, after) = (RetryPolicy::default(), later(Timestamp::now(), HOUR));
    let found = stage.table.to_sweep(&policy, 10, after).await.unwrap();
    assert_eq!(found.iter().map(|task| &task.id).collect::<Vec<_>>(), [&whole.id]);
    stage.table.update(&whole.id, after, |task| Ok(task.cancel(&policy, after)?)).await.unwrap();
    let alone = stage.table.to_sweep(&policy, 10, after).await;
    assert!(matches!(&alone, Err(StoreError::Damaged { what, .. }) if what.contains(&id(1).to_string())), "{alone:?}");
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn claims_go_and_expire_with_their_task() {
    let stage = fresh().await;
    let (task, policy, now) = (push(1), RetryPolicy::default(), Timestamp::now());
    assert_eq!(stage.table.admit(&task).await.unwrap(), Admission::Created);
    let hash = |key: &str| Digest::of(key.as_bytes()).hex();
    let live = format!("live#{}", hash(&task.live_key()));
    let delivery = format!("delivery#{}", hash(&task.delivery_key().unwrap()));
    let expires = async || {
        let task = stage.item(&format!("task#{}", task.id), "task").await.unwrap();
        let claim = stage.item(&delivery, "delivery").await.unwrap();
        [task, claim].map(|item| item.get("expires").map(|value| value.as_n().unwrap().clone()))
    };
    assert!(stage.item(&live, "live").await.is_some());
    assert_eq!(expires().await, [None, None], "a live task is never forgotten");
    stage.table.update(&task.id, now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
    assert!(stage.item(&live, "live").await.is_none());
    let [of_task, of_claim] = expires().await;
    assert!(of_task.is_some() && of_task == of_claim, "{of_task:?} {of_claim:?}");
    stage.table.update(&task.id, now, |task| Ok(task.retry(now)?)).await.unwrap();
    assert!(stage.item(&live, "live").await.is_some());
    assert_eq!(expires().await, [None, None]);
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_delivery_that_another_task_has_taken_over_is_left_to_it() {
    let stage = fresh().await;
    let (policy, now) = (RetryPolicy::default(), Timestamp::now());
    let first = push(1);
    assert_eq!(stage.table.admit(&first).await.unwrap(), Admission::Created);
    stage.table.update(&first.id, now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
    let after = later(now, policy.retention);
    let second = Task { created: after, digest: Some(Digest::of(b"another")), ..again(&first, 2) };
    assert_eq!(stage.table.admit(&second).await.unwrap(), Admission::Created);
    // Whoever has read the first one a moment before it expired retries it.
    stage.table.update(&first.id, now, |task| Ok(task.retry(now)?)).await.unwrap();
    let third = again(&second, 3);
    assert!(matches!(stage.table.admit(&third).await.unwrap(), Admission::Joined(task) if task.id == id(2)));
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn the_index_of_the_sweeper_holds_only_live_tasks() {
    let stage = fresh().await;
    let (policy, now) = (RetryPolicy::default(), Timestamp::now());
    for n in 0..6 {
        assert_eq!(stage.table.admit(&other(n)).await.unwrap(), Admission::Created);
        if n < 4 {
            stage.table.update(&id(n), now, |task| Ok(task.cancel(&policy, now)?)).await.unwrap();
        }
    }
    let scan = stage.dynamodb.scan().table_name(&stage.name).index_name("due").send().await.unwrap();
    assert_eq!(scan.count, 2);
    let listed = stage.table.list(&ListQuery::default(), now).await.unwrap();
    assert_eq!(listed.tasks.len(), 6);
}

/// Copies of the item of `task` under other ids, as many as there are `ids`.
async fn copies(stage: &Stage, task: &Task, ids: impl Iterator<Item = TaskId>) {
    let own = task.id.to_string();
    let template = stage.item(&format!("task#{own}"), "task").await.unwrap();
    let copy = |id: TaskId| {
        let renamed = |(name, value): (&String, &AttributeValue)| {
            let value = value.as_s().map(|text| AttributeValue::S(text.replace(&own, &id.to_string())));
            value.ok().map(|value| (name.clone(), value))
        };
        let mut item: HashMap<String, AttributeValue> = template.iter().filter_map(renamed).collect();
        item.insert("revision".to_owned(), AttributeValue::N("0".to_owned()));
        WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build().unwrap()).build()
    };
    let copies: Vec<WriteRequest> = ids.map(copy).collect();
    for some in copies.chunks(25) {
        let request = stage.dynamodb.batch_write_item().request_items(&stage.name, some.to_vec());
        let left = request.send().await.unwrap().unprocessed_items.unwrap_or_default();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_filter_that_covers_little_ends_a_page_early_and_the_next_one_goes_on() {
    let stage = fresh().await;
    let (oldest, now) = (other(1), Timestamp::now());
    assert_eq!(stage.table.admit(&oldest).await.unwrap(), Admission::Created);
    let name = "h.example/p/other:1";
    let (written, source) = (name.to_owned(), name.parse().unwrap());
    let newer = Task { created: later(oldest.created, HOUR), written, source, ..push(2) };
    assert_eq!(stage.table.admit(&newer).await.unwrap(), Admission::Created);
    let id = |n: u32| format!("00000000-0000-4000-8001-{n:011x}2").parse().unwrap();
    copies(&stage, &newer, (0..2100).map(id)).await;
    let query = ListQuery { source: Some("p/app".to_owned()), ..ListQuery::default() };
    let first = stage.table.list(&query, now).await.unwrap();
    assert!(first.tasks.is_empty() && first.next.is_some(), "{first:?}");
    let second = stage.table.list(&ListQuery { cursor: first.next, ..query }, now).await.unwrap();
    assert_eq!(second.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(), [&oldest.id]);
    assert_eq!(second.next, None);
}

#[tokio::test]
#[ignore = "needs an emulator at AWS_ENDPOINT_URL"]
async fn a_table_that_is_not_there_is_named_by_the_check() {
    let stage = fresh().await;
    stage.table.check().await.unwrap();
    let missing = accel_tasks::aws::Table::new(stage.dynamodb.clone(), "no-such-table");
    let error = missing.check().await.unwrap_err().to_string();
    assert!(error.contains("GetItem") && error.contains("ResourceNotFound"), "{error}");
}
