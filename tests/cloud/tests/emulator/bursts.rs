//! Many events at once.

use std::collections::BTreeSet;

use accel_cloud_tests::target::PATIENCE;
use accel_cloud_tests::{Key, harbor};
use accel_test_support::ImageBuilder;
use futures::StreamExt as _;

use crate::site::{Site, Wanted};

const EVENTS: usize = 500;

#[tokio::test]
#[ignore = "needs an emulated AWS: run tests/cloud/run"]
async fn of_five_hundred_pushes_none_is_lost() {
    let Site { stack, target } = Site::new(Wanted::default()).await;
    let repository = "library/burst";
    let built = ImageBuilder::noisy("burst", 1);
    let tags: Vec<String> = (0..EVENTS).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        built.push(target.content(), repository, Some(tag));
    }
    let events = tags.iter().map(|tag| harbor(&[&target.pushed(repository, tag)], 0));
    let answers = futures::stream::iter(events).map(|event| {
        let target = &target;
        async move { target.task(&event).await }
    });
    let ids: BTreeSet<String> = answers.buffer_unordered(16).collect().await;
    assert_eq!(ids.len(), EVENTS);
    let listed =
        async |status: &str| target.listed(&format!("?source={repository}&status={status}"), Key::Admin).await.len();
    // As long as some end, the rest is waited for.
    let mut done = 0;
    while done < EVENTS {
        done = PATIENCE
            .until("more of them end", async || Some(listed("COMPLETED").await).filter(|now| *now > done))
            .await;
    }
    assert_eq!((listed("PROCESSING").await, listed("FAILED").await), (0, 0));
    assert!(tags.iter().all(|tag| target.content().manifest(repository, &format!("{tag}-esgz")).is_some()));
    PATIENCE.until("the queue is empty", async || (stack.messages().await == 0).then_some(())).await;
    assert_eq!(stack.dead_letters().await, [""; 0]);
}
