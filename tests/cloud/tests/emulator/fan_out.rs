//! Many layers, many workers, one image.

use accel_cloud_tests::harbor;
use accel_test_support::{Fault, Request, Rule};

use crate::functions::environments;
use crate::site::{Site, Wanted};

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn twelve_layers_are_shared_by_workers_and_put_together_once() {
    const WORKERS: usize = 5;
    let more = "tasks: { fan_out: { layers: 4 } }";
    let parameters = ["ConverterConcurrency=5"];
    let Site { stack, target } = Site::new(Wanted { parameters: &parameters, more }).await;
    let image = target.push("library/wide", "v1", 12);
    for layer in &image.layers {
        target.registry.rule(Rule::on(Request::BlobGet, Fault::Stalled { after: 1000 }).path(layer.digest));
    }
    let id = target.task(&harbor(&[&target.pushed("library/wide", "v1")], 0)).await;
    target.registry.stalled(WORKERS).await;
    // An invocation has one layer: so many run at the same time.
    let running = environments(stack.output("ConverterFunction")).len();
    assert!(running >= WORKERS, "{running} environments");
    target.registry.release();
    let row = target.completed(&id).await;
    assert_eq!((&row["layers_total"], &row["layers_converted"]), (&12.into(), &12.into()), "{row}");
    let tagged = target.registry.requests_of(Request::ManifestPut);
    let tagged = tagged.iter().filter(|seen| seen.path.ends_with("/manifests/v1-esgz")).count();
    assert_eq!(tagged, 1, "the tag is moved once");
}
