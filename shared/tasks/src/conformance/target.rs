//! The lease of a target reference.

use accel_image::Reference;
use futures::future::join_all;

use super::{Fixture, MINUTE, later, start_time};
use crate::TaskStore;

fn target(text: &str) -> Reference {
    text.parse().unwrap()
}

pub async fn a_target_has_one_owner_at_a_time(f: &impl Fixture) {
    let (now, at) = (start_time(), target("h.example/p/app:1-esgz"));
    assert!(f.tasks().lease_target(&at, "a", MINUTE, now).await.unwrap());
    assert!(!f.tasks().lease_target(&at, "b", MINUTE, now).await.unwrap());
    f.tasks().release_target(&at, "a").await.unwrap();
    assert!(f.tasks().lease_target(&at, "b", MINUTE, now).await.unwrap());
}

pub async fn an_owner_renews_its_target(f: &impl Fixture) {
    let (now, at) = (start_time(), target("h.example/p/app:1-esgz"));
    assert!(f.tasks().lease_target(&at, "a", MINUTE, now).await.unwrap());
    let soon = later(now, MINUTE / 2);
    assert!(f.tasks().lease_target(&at, "a", MINUTE, soon).await.unwrap());
    assert!(!f.tasks().lease_target(&at, "b", MINUTE, later(now, MINUTE)).await.unwrap());
}

pub async fn the_lease_of_a_target_expires(f: &impl Fixture) {
    let (now, at) = (start_time(), target("h.example/p/app:1-esgz"));
    assert!(f.tasks().lease_target(&at, "a", MINUTE, now).await.unwrap());
    assert!(f.tasks().lease_target(&at, "b", MINUTE, later(now, MINUTE)).await.unwrap());
    assert!(!f.tasks().lease_target(&at, "a", MINUTE, later(now, MINUTE)).await.unwrap());
    assert!(f.tasks().lease_target(&at, "c", MINUTE, later(now, 10 * MINUTE)).await.unwrap());
}

pub async fn only_the_owner_releases_a_target(f: &impl Fixture) {
    let (now, at) = (start_time(), target("h.example/p/app:1-esgz"));
    f.tasks().release_target(&at, "nobody").await.unwrap();
    assert!(f.tasks().lease_target(&at, "a", MINUTE, now).await.unwrap());
    f.tasks().release_target(&at, "b").await.unwrap();
    assert!(!f.tasks().lease_target(&at, "b", MINUTE, now).await.unwrap());
}

pub async fn targets_do_not_touch_each_other(f: &impl Fixture) {
    let now = start_time();
    for (text, owner) in [("h.example/p/app:1", "a"), ("h.example/p/app:2", "b"), ("h.example/p/app2:1", "c")] {
        assert!(f.tasks().lease_target(&target(text), owner, MINUTE, now).await.unwrap(), "{text}");
    }
}

pub async fn of_many_who_want_a_target_one_gets_it(f: &impl Fixture) {
    let (now, at) = (start_time(), target("h.example/p/app:1-esgz"));
    let owners: Vec<String> = (0..20).map(|n| format!("owner {n}")).collect();
    let got = join_all(owners.iter().map(|owner| f.tasks().lease_target(&at, owner, MINUTE, now))).await;
    assert_eq!(got.into_iter().filter(|got| *got.as_ref().unwrap()).count(), 1);
}
