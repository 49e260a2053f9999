//! The HTTP API through the gateway.

use accel_cloud_tests::{Ask, Key, cases, harbor};

use crate::site::{Site, Wanted};

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn every_case_of_the_http_api_holds() {
    cases::run(Site::new(Wanted::default()).await.target).await;
}

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn a_wait_that_runs_out_is_202_with_the_first_unfinished_task() {
    let Site { target, .. } = Site::new(Wanted::default()).await;
    target.slow("library/long");
    target.push("library/long", "v1", 1);
    let event = harbor(&[&target.pushed("library/long", "v1")], 0);
    let answer = target.ask(Ask::event(event).query("?sync=true").auth(Key::Hook)).await;
    assert_eq!((answer.status, answer.ids().len()), (202, 1), "{answer:?}");
    let location = target.resolve("/api/v1/conversions", answer.header("location").unwrap_or_default());
    assert_eq!(location, format!("/api/v1/conversions/{}", answer.ids()[0]));
    let row = target.ask(Ask::get(location).auth(Key::Hook)).await.json();
    assert_eq!(row["status"], "PROCESSING");
}
