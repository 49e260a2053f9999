//! Invocations that end in the middle of an image.

use std::time::Duration;

use accel_cloud_tests::harbor;
use accel_cloud_tests::target::PATIENCE;
use accel_test_support::{Fault, Request, Rule};

use crate::functions::{Environment, environments};
use crate::site::{Site, Wanted};

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_converter_that_is_killed_loses_nothing() {
    let parameters = ["ConverterTimeout=20", "MessageVisibility=21"];
    let Site { stack, target } = Site::new(Wanted { parameters: &parameters, ..Wanted::default() }).await;
    let image = target.push("library/killed", "v1", 2);
    let stalled = Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }).path(image.layers[1].digest);
    target.registry.rule(stalled);
    let id = target.task(&harbor(&[&target.pushed("library/killed", "v1")], 0)).await;
    let finished = async || (target.shown(&id).await["layers_converted"] == 1).then_some(());
    PATIENCE.until("a layer is finished", finished).await;
    let running = environments(stack.output("ConverterFunction"));
    assert!(!running.is_empty());
    running.iter().for_each(Environment::kill);

    target.registry.clear_rules();
    let row = target.completed(&id).await;
    // What the dead run finished is not done again, and no attempt is charged for it.
    assert_eq!((&row["layers_reused"], &row["layers_converted"]), (&1.into(), &1.into()), "{row}");
    assert_eq!(row["attempts"], 0, "{row}");
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn an_image_that_takes_longer_than_an_invocation_is_finished_without_an_attempt() {
    const LAYERS: u32 = 12;
    let parameters = ["ConverterTimeout=20", "MessageVisibility=21"];
    let Site { target, .. } = Site::new(Wanted { parameters: &parameters, ..Wanted::default() }).await;
    // A layer takes 5 s, and two are read at a time.
    let slow = Fault::Slow { piece: 4 << 10, pause: Duration::from_millis(400) };
    target.push("library/long", "v1", LAYERS as usize);
    target.registry.rule(Rule::on(Request::BlobGet, slow));
    let id = target.task(&harbor(&[&target.pushed("library/long", "v1")], 0)).await;
    let row = target.completed(&id).await;
    let [converted, reused] = ["layers_converted", "layers_reused"].map(|name| row[name].as_u64().unwrap());
    assert_eq!((converted + reused, row["attempts"].as_u64()), (LAYERS.into(), Some(0)), "{row}");
    assert!(reused > 0, "one invocation was enough: {row}");
    assert!(target.content().manifest("library/long", "v1-esgz").is_some());
}
