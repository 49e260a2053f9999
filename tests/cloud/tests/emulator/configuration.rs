//! A configuration that cannot be used, and is mended; one that is too large for SSM.

use accel_cloud_tests::target::PATIENCE;
use accel_cloud_tests::{Nowhere, Target, harbor};

use crate::functions::{Environment, environments};
use crate::site::{Site, Stack, Wanted, put_object, put_secrets, reference, unique_name};

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn without_a_configuration_messages_wait_and_are_worked_off_once_there_is_one() {
    // One receive more, and a message would be a dead letter.
    let parameters = ["MaxReceives=1"];
    let Site { stack, target } = Site::new(Wanted { parameters: &parameters, ..Wanted::default() }).await;
    for tag in ["v1", "v2"] {
        target.push("library/misconfigured", tag, 1);
    }
    let event = |tag| harbor(&[&target.pushed("library/misconfigured", tag)], 0);
    // The webhook has the good one from now on, and keeps it.
    target.completed(&target.task(&event("v1")).await).await;
    let running = environments(stack.output("ConverterFunction"));
    assert!(!running.is_empty());
    running.iter().for_each(Environment::kill);
    let good = stack.change_configuration("rules: [").await;

    let id = target.task(&event("v2")).await;
    PATIENCE.until("the message is put off", async || (stack.delayed_messages().await == 1).then_some(())).await;
    let task = target.shown(&id).await;
    assert_eq!((&task["status"], &task["attempts"]), (&"PROCESSING".into(), &0.into()), "{task}");
    stack.change_configuration(&good).await;
    let task = target.completed(&id).await;
    assert_eq!(task["attempts"], 0, "{task}");
    assert_eq!(stack.dead_letters().await, [""; 0]);
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_large_configuration_lies_in_s3() {
    let (name, registry) = (unique_name(), Target::start_registry().await);
    put_secrets(&name).await;
    let comment = format!("# {}", "as long as it has to be ".repeat(1000));
    let configuration = Target::configuration(&registry, |key| reference(&name, key), "", &comment);
    let place = format!("{name}-config/a dir/accel+1.yaml");
    put_object(&place, &configuration).await;
    let object = format!("ConfigObject={place}");
    let stack = Stack::deploy(name, "rules: [ # not this one", &[&object]).await;
    let target = Target::new(stack.output("LocalUrl"), registry, Nowhere::Gateway);
    target.push("library/large", "v1", 1);
    target.completed(&target.task(&harbor(&[&target.pushed("library/large", "v1")], 0)).await).await;
}
