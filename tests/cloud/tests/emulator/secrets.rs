//! Secrets that change while the functions run.

use std::collections::BTreeSet;

use accel_cloud_tests::{Ask, Key, harbor};

use crate::functions::environments;
use crate::site::{Site, Stack, Wanted};

/// The processes in which a function runs.
fn processes(stack: &Stack, function: &str) -> BTreeSet<u32> {
    let running: BTreeSet<u32> =
        environments(stack.output(function)).iter().map(|environment| environment.process).collect();
    assert!(!running.is_empty(), "{function} does not run");
    running
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_rotated_webhook_secret_is_accepted_at_once_and_the_one_before_for_a_while() {
    let Site { stack, target } = Site::new(Wanted::default()).await;
    for tag in ["v1", "v2", "v3"] {
        target.push("library/rotated", tag, 1);
    }
    let event = |tag| harbor(&[&target.pushed("library/rotated", tag)], 0);
    target.completed(&target.task(&event("v1")).await).await;
    assert_eq!(target.listed("", Key::Hook).await.len(), 1);
    let before = ["WebhookFunction", "QueryFunction"].map(|function| processes(&stack, function));

    stack.change_secret(Key::Hook, "Bearer another-word").await;
    let answer = target.ask(Ask::event(event("v2")).header("Bearer another-word")).await;
    assert!(answer.is_ok() && answer.ids().len() == 1, "{answer:?}");
    let answer = target.tell(&event("v3")).await;
    assert!(answer.is_ok() && answer.ids().len() == 1, "{answer:?}");
    let answer = target.ask(Ask::event(event("v3")).header("Bearer third-word")).await;
    assert!(answer.is_error(401, "ERR_UNAUTHORIZED", "invalid auth config"), "{answer:?}");
    // The query function has the old value in memory, too, and is asked with the new one.
    let list = target.ask(Ask::get("/api/v1/conversions").header("Bearer another-word")).await;
    assert_eq!((list.status, list.json().as_array().map(Vec::len)), (200, Some(3)), "{list:?}");
    let after = ["WebhookFunction", "QueryFunction"].map(|function| processes(&stack, function));
    assert_eq!(before, after, "those that had the old value in memory have answered");
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_rotated_registry_password_costs_no_attempt() {
    let Site { stack, target } = Site::new(Wanted::default()).await;
    for tag in ["v1", "v2"] {
        target.push("library/password", tag, 1);
    }
    let event = |tag| harbor(&[&target.pushed("library/password", tag)], 0);
    target.completed(&target.task(&event("v1")).await).await;
    let before = processes(&stack, "ConverterFunction");
    stack.change_secret(Key::Password, "another-word").await;
    target.registry.registry().change_password("another-word");
    let row = target.completed(&target.task(&event("v2")).await).await;
    assert_eq!(row["attempts"], 0, "{row}");
    assert_eq!(processes(&stack, "ConverterFunction"), before, "the one that had the old password has done it");
}
