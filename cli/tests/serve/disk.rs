//! A disk that is full under the store.

use std::collections::BTreeSet;

use accel_test_support::{Fault, ImageBuilder, Request, Rule};

use crate::service::{Service, Signal};
use crate::site::{Keys, REPOSITORY, Site};

/// More events than a store takes that may not grow.
const MOST_EVENTS: usize = 20_000;
/// How much the store may grow.
const ROOM: u64 = 256 << 10;

#[tokio::test]
async fn events_are_refused_while_the_disk_is_full_and_none_that_was_answered_is_lost() {
    let site = Site::new().await;
    site.configure(Keys { server: "shutdown_grace: 0s", ..Keys::default() });
    site.serve().await.stop().await;
    let bytes = std::fs::metadata(site.path("state/accel.redb")).unwrap().len();
    // No task ends, so that nothing is freed.
    site.registry.rule(Rule::on(Request::ManifestGet, Fault::Hang));
    let mut command = site.command_within(bytes + ROOM, &["serve", "--config", "accel.yaml"]);
    let mut service = Service::start(&mut command, None).await;
    let same = ImageBuilder::noisy("same", 1);
    let push = |n: usize| drop(same.push(site.content(), REPOSITORY, Some(&format!("t{n}"))));

    let mut answered = BTreeSet::new();
    let refused = loop {
        let n = answered.len();
        assert!(n < MOST_EVENTS, "the disk does not fill");
        push(n);
        let answer = service.tell(&site.event(&format!("t{n}"))).await;
        if answer.status != 200 {
            break answer;
        }
        assert_eq!(answer.tasks.len(), 1, "{answer:?}");
        answered.extend(answer.tasks);
        assert_eq!(answered.len(), n + 1, "each event has a task of its own");
    };
    assert_eq!(refused.status, 500, "the registry has to send it again: {refused:?}");
    assert!(refused.body.contains("ERR_CONVERT_FAILED") && refused.tasks.is_empty(), "{refused:?}");
    let listed = listed(&service).await;
    assert!(answered.len() > 10, "there was room for {}", answered.len());
    assert_eq!(answered.difference(&listed).count(), 0, "what was answered is still there");
    service.signal(Signal::Terminate);
    assert_eq!(service.exit_code().await, Some(0));

    // There is room again.
    site.registry.clear_rules();
    site.registry.release();
    let service = site.serve().await;
    let again = service.tell(&site.event(&format!("t{}", answered.len()))).await;
    assert_eq!((again.status, again.tasks.len()), (200, 1), "{again:?}");
    answered.extend(again.tasks);
    for id in &answered {
        service.completed(id).await;
    }
    site.assert_targets_are_whole();
    service.stop().await;
}

async fn listed(service: &Service) -> BTreeSet<String> {
    let rows = service.pages("/api/v1/conversions").await.concat();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}
