//! Events, what registries call them, and what becomes of them.

use crate::ask::Ask;
use crate::events::{Pushed, cloudevent, harbor, notification};
use crate::target::{Key, Target};

fn is_there(target: &Target, repository: &str, tag: &str) -> bool {
    target.content().manifest(repository, tag).is_some()
}

pub(super) async fn a_push_is_listed_and_converted(target: &Target) {
    let repository = "library/push";
    target.push(repository, "v1", 2);
    let pushed = target.pushed(repository, "v1");
    let id = target.task(&harbor(&[&pushed], 0)).await;
    let row = target.shown(&id).await;
    assert_eq!((&row["id"], &row["source"]), (&id.as_str().into(), &pushed.name().into()));
    assert_eq!(row["target"], format!("{}-esgz", pushed.name()));
    assert_eq!(row["format"], "estargz");

    let row = target.completed(&id).await;
    assert_eq!((&row["reason"], &row["phase"], &row["progress"]), (&"".into(), &"done".into(), &1.0.into()), "{row}");
    assert_eq!((&row["layers_total"], &row["attempts"]), (&2.into(), &0.into()), "{row}");
    assert!(row["source_size"].as_u64() > Some(0) && row["target_size"].as_u64() > Some(0), "{row}");
    assert!(
        row["finished"].as_str() > row["created"].as_str() && row["duration_seconds"].as_f64() > Some(0.0),
        "{row}"
    );
    assert_eq!(target.listed("?source=library/push", Key::Hook).await, [row]);
    assert!(is_there(target, repository, "v1-esgz"));
}

pub(super) async fn every_form_of_event_is_understood(target: &Target) {
    let repository = "library/forms";
    let tags = ["harbor", "cloudevents", "v1", "v2", "alias"];
    let [default, cloud, first, second, alias] = tags.map(|tag| {
        target.push(repository, tag, 1);
        target.pushed(repository, tag)
    });
    let distribution = |image, version| {
        let kind = format!("application/vnd.docker.distribution.events.{version}+json");
        Ask::event(notification(image, "320678d8")).content_type(&kind)
    };
    let asks = [
        ("harbor", Ask::event(harbor(&[&default], 0))),
        ("cloudevents", Ask::event(cloudevent(&cloud, "4b2f89a6")).content_type("application/cloudevents+json")),
        ("v1", distribution(&first, "v1")),
        ("v2", distribution(&second, "v2")),
        ("alias", Ask::event(harbor(&[&alias.at("harbor-core")], 0))),
    ];
    for (tag, ask) in asks {
        let answer = target.ask(ask.auth(Key::Hook)).await;
        assert!(answer.is_ok() && answer.ids().len() == 1, "{tag}: {answer:?}");
        let row = target.completed(&answer.ids()[0]).await;
        let expected = format!("{}/{repository}:{tag}-esgz", target.host());
        assert_eq!(row["target"].as_str(), Some(expected.as_str()), "{tag}");
        assert!(is_there(target, repository, &format!("{tag}-esgz")), "{tag}");
    }
}

/// acceld's payload, which `accelctl task create` sends.
pub(super) async fn an_event_without_a_digest_is_resolved(target: &Target) {
    let repository = "library/unresolved";
    target.push(repository, "v1", 1);
    let pushed = target.pushed(repository, "v1");
    let event =
        format!(r#"{{"type":"PUSH_ARTIFACT","event_data":{{"resources":[{{"resource_url":"{}"}}]}}}}"#, pushed.name());
    let row = target.completed(&target.task(&event.parse().unwrap()).await).await;
    assert_eq!(row["source_digest"], pushed.digest.unwrap().to_string());
    assert!(is_there(target, repository, "v1-esgz"));
}

pub(super) async fn the_same_event_three_times_is_one_task(target: &Target) {
    let repository = "library/again";
    target.push(repository, "v1", 1);
    let pushed = target.pushed(repository, "v1");
    let event = harbor(&[&pushed], 0);
    let id = target.task(&event).await;
    assert_eq!(target.task(&event).await, id);
    target.completed(&id).await;
    assert_eq!(target.task(&event).await, id, "also once it has ended");
    assert_eq!(target.listed("?source=library/again", Key::Admin).await.len(), 1);

    let later = target.task(&harbor(&[&pushed], 1)).await;
    assert_ne!(later, id, "a later push is another delivery");
    assert_eq!(target.completed(&later).await["reason"], "already accelerated");
}

pub(super) async fn an_event_may_be_about_several_images(target: &Target) {
    let tags = ["v1", "v2", "v3"];
    let pushed = tags.map(|tag| {
        target.push("library/several", tag, 1);
        target.pushed("library/several", tag)
    });
    let answer = target.tell(&harbor(&pushed.each_ref(), 0)).await;
    assert!(answer.is_ok(), "{answer:?}");
    let ids = answer.ids();
    assert_eq!(ids.len(), tags.len(), "{answer:?}");
    for (id, image) in ids.iter().zip(&pushed) {
        assert_eq!(target.completed(id).await["source"], image.name());
    }
}

pub(super) async fn a_deletion_removes_the_target(target: &Target) {
    let repository = "library/deletion";
    target.push(repository, "v1", 1);
    let pushed: Pushed = target.pushed(repository, "v1");
    target.completed(&target.task(&harbor(&[&pushed], 0)).await).await;
    assert!(is_there(target, repository, "v1-esgz"));
    target.content().remove_manifest(repository, "v1").unwrap();
    let mut event = harbor(&[&pushed], 1);
    event["type"] = "DELETE_ARTIFACT".into();
    target.completed(&target.task(&event).await).await;
    assert!(!is_there(target, repository, "v1-esgz"));
}
