//! The sweep, as the schedule asks for it.

use std::time::Duration;

use accel_domain::task::{NewTask, TaskKind};
use accel_domain::{Format, Output, Task, TaskId, Timestamp};
use accel_tasks::aws::Table;
use accel_tasks::{Admission, TaskStore as _};
use serde_json::json;

use crate::aws::{clients, invoke};
use crate::site::{Site, Wanted};

/// A task for `name` that was accepted a while ago, and whose message was never sent.
fn forgotten(name: &str) -> Task {
    let id: TaskId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    let source: accel_image::Reference = name.parse().unwrap();
    let output = Output::new(Format::Estargz.default_options());
    let new = NewTask {
        id,
        kind: TaskKind::Convert,
        written: name.to_owned(),
        digest: None,
        target: source.with_tag("v1-esgz").unwrap(),
        source,
        rule_hash: output.rule_hash("{repository}:{tag}-esgz"),
        output,
        delivery: None,
    };
    Task::new(new, Timestamp::now().checked_sub(Duration::from_secs(180)).unwrap())
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_task_that_was_never_queued_is_swept_up() {
    let Site { stack, target } = Site::new(Wanted::default()).await;
    target.push("library/forgotten", "v1", 1);
    let task = forgotten(&target.pushed("library/forgotten", "v1").name());
    let table = Table::new(aws_sdk_dynamodb::Client::new(&clients().await), stack.output("TableName"));
    assert_eq!(table.admit(&task).await.unwrap(), Admission::Created);
    invoke(stack.output("ConverterFunction"), &json!({ "sweep": true })).await;
    target.completed(&task.id.to_string()).await;
    assert!(target.content().manifest("library/forgotten", "v1-esgz").is_some());
}
