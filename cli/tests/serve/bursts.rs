//! Many events at once.

use std::collections::BTreeSet;

use futures::StreamExt as _;

use crate::service::{send, until};
use crate::site::{REPOSITORY, Site, image};

#[tokio::test]
async fn a_hundred_equal_events_make_one_task() {
    let site = Site::new().await;
    site.image("v1", 1);
    let service = site.serve().await;
    let event = site.event("v1");
    let answers = futures::future::join_all((0..100).map(|_| service.tell(&event))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let ids: BTreeSet<String> = answers.into_iter().flat_map(|answer| answer.tasks).collect();
    assert_eq!((ids.len(), service.tasks().await.len()), (1, 1));
    service.completed(ids.first().unwrap()).await;
    site.assert_accelerated("v1");
}

#[tokio::test]
async fn five_hundred_pushes_at_once_are_accepted_and_all_finish() {
    const PUSHES: usize = 500;
    let site = Site::new().await;
    let tags: Vec<String> = (0..PUSHES).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        image("same", 1).push(site.content(), REPOSITORY, Some(tag));
    }
    let service = site.serve().await;
    let events = tags.iter().map(|tag| send(service.event(&site.event(tag))));
    let answers: Vec<_> = futures::stream::iter(events).buffer_unordered(64).collect().await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(answer) if answer.status == 200)), "{answers:?}");
    let finished = async || {
        let done = service.get("/api/v1/conversions?status=COMPLETED").await.rows().len();
        (done == PUSHES).then_some(())
    };
    until("all are completed", finished).await;
    assert!(tags.iter().all(|tag| site.is_accelerated(tag)));
    site.assert_targets_are_whole();
    site.assert_accelerated(&tags[PUSHES - 1]);
    service.stop().await;
}
