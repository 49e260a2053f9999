//! `sync=true`.

use crate::ask::Ask;
use crate::events::harbor;
use crate::target::{Key, Target};

pub(super) async fn who_waits_for_a_success_hears_ok(target: &Target) {
    for (tag, value) in [("v1", "true"), ("v2", "1")] {
        target.push("library/waited", tag, 1);
        let event = harbor(&[&target.pushed("library/waited", tag)], 0);
        let answer = target.ask(Ask::event(event).query(&format!("?sync={value}")).auth(Key::Hook)).await;
        assert!(answer.is_ok() && answer.ids().len() == 1, "{value}: {answer:?}");
        assert_eq!(target.shown(&answer.ids()[0]).await["status"], "COMPLETED", "{value}");
    }
}

pub(super) async fn who_waits_for_a_failure_hears_why(target: &Target) {
    let broken = target.push_broken("library/awaited", "v1");
    let answer = target.ask(Ask::event(harbor(&[&broken], 0)).query("?sync=true").auth(Key::Hook)).await;
    let row = target.shown(&answer.ids()[0]).await;
    let reason = row["reason"].as_str().unwrap();
    assert!(!reason.is_empty() && answer.is_error(500, "ERR_CONVERT_FAILED", reason), "{answer:?}: {row}");
}

pub(super) async fn who_does_not_wait_is_answered_at_once(target: &Target) {
    let repository = "library/unawaited";
    target.slow(repository);
    for (tag, query) in [("v1", ""), ("v2", "?sync=false"), ("v3", "?sync=yes")] {
        target.push(repository, tag, 1);
        let event = harbor(&[&target.pushed(repository, tag)], 0);
        let answer = target.ask(Ask::event(event).query(query).auth(Key::Hook)).await;
        assert!(answer.is_ok() && answer.ids().len() == 1, "{query}: {answer:?}");
        assert_eq!(target.shown(&answer.ids()[0]).await["status"], "PROCESSING", "{query}");
        let path = format!("/api/v1/conversions/{}", answer.ids()[0]);
        assert_eq!(target.ask(Ask::new("DELETE", path).auth(Key::Hook)).await.status, 200, "{query}");
    }
}
