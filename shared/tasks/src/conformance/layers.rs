//! Layer records.

use std::time::Duration;

use accel_domain::Format;
use accel_image::{Annotations, Descriptor};

use super::{DAY, Fixture, digest, later, start_time};
use crate::{LayerCache, LayerKey, LayerOutcome, LayerRecord};

fn key() -> LayerKey {
    LayerKey {
        host: "h.example".to_owned(),
        project: "p".to_owned(),
        source: digest("layer"),
        format: Format::Estargz,
        version: 1,
        options: digest("options"),
    }
}

fn record(name: &str) -> LayerRecord {
    let annotations = Annotations::from([("toc".to_owned(), digest(name).to_string())]);
    let descriptor = Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", digest(name), 1 << 40);
    LayerRecord {
        descriptor: Descriptor { annotations, ..descriptor },
        diff_id: digest("diff id"),
        outcome: LayerOutcome::Kept,
        reason: "sparse".to_owned(),
        repository: "p/app".to_owned(),
    }
}

pub async fn a_layer_is_found_as_it_was_remembered(f: &impl Fixture) {
    let now = start_time();
    assert_eq!(f.layers().find_layer(&key(), now).await.unwrap(), None);
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    assert_eq!(f.layers().find_layer(&key(), now).await.unwrap(), Some(record("a")));
}

pub async fn a_layer_is_found_only_under_its_exact_key(f: &impl Fixture) {
    let now = start_time();
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    for other in [
        LayerKey { host: "i.example".to_owned(), ..key() },
        LayerKey { project: "p2".to_owned(), ..key() },
        LayerKey { source: digest("another layer"), ..key() },
        LayerKey { version: 2, ..key() },
        LayerKey { options: digest("other options"), ..key() },
        LayerKey { host: "h.example p".to_owned(), project: String::new(), ..key() },
    ] {
        assert_eq!(f.layers().find_layer(&other, now).await.unwrap(), None, "{other:?}");
    }
}

pub async fn a_later_record_replaces_an_earlier_one(f: &impl Fixture) {
    let now = start_time();
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    f.layers().remember_layer(&key(), &record("b"), now).await.unwrap();
    assert_eq!(f.layers().find_layer(&key(), now).await.unwrap(), Some(record("b")));
}

pub async fn a_forgotten_layer_is_not_found(f: &impl Fixture) {
    let now = start_time();
    f.layers().forget_layer(&key()).await.unwrap();
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    f.layers().forget_layer(&key()).await.unwrap();
    assert_eq!(f.layers().find_layer(&key(), now).await.unwrap(), None);
}

pub async fn a_layer_is_forgotten_90_days_after_its_last_use(f: &impl Fixture) {
    let now = start_time();
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    let end = later(now, 90 * DAY);
    assert_eq!(f.layers().find_layer(&key(), end).await.unwrap(), None);
}

pub async fn a_find_is_a_use(f: &impl Fixture) {
    let now = start_time();
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    let mut at = now;
    for _ in 0..4 {
        at = later(at, 60 * DAY);
        assert_eq!(f.layers().find_layer(&key(), at).await.unwrap(), Some(record("a")));
    }
    assert_eq!(f.layers().find_layer(&key(), later(at, 90 * DAY)).await.unwrap(), None);
}

pub async fn a_layer_is_kept_to_the_last_second(f: &impl Fixture) {
    let now = start_time();
    f.layers().remember_layer(&key(), &record("a"), now).await.unwrap();
    let used = later(now, 89 * DAY);
    f.layers().find_layer(&key(), used).await.unwrap();
    let last = later(used, 90 * DAY - Duration::from_secs(1));
    assert_eq!(f.layers().find_layer(&key(), last).await.unwrap(), Some(record("a")));
}
