//! A project's webhook policy: what it has to be, and what a Harbor has to do for that.
//!
//! Harbor writes a policy as a whole, so what is not ours in one goes back as it came.

use std::collections::BTreeSet;

use accel_domain::Secret;
use serde_json::{Value, json};

use super::address::{Project, WEBHOOK_PATH, WebhookUrl};
use super::plan::{Plan, change};
use crate::out::plain;

/// What Harbor tells Accel of.
pub(super) const PUSH: &str = "PUSH_ARTIFACT";
/// Where targets are deleted with their sources, of this too.
pub(super) const DELETE: &str = "DELETE_ARTIFACT";

/// The policy that a project needs.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) project: Project,
    pub(super) name: String,
    pub(super) url: WebhookUrl,
    pub(super) header: Secret,
    pub(super) events: BTreeSet<&'static str>,
    pub(super) skip_cert_verify: bool,
}

impl Wanted {
    /// Ours among the policies of the project is the one of this name, or else one that leads to Accel already.
    pub(super) fn plan(&self, found: &[Value]) -> Plan {
        let named = found.iter().find(|policy| policy["name"] == self.name.as_str());
        let ours = named.or_else(|| found.iter().find(|policy| self.target_in(policy).is_some()));
        match ours {
            None => Plan::Create(self.document()),
            Some(policy) => self.correct(policy),
        }
    }

    fn document(&self) -> Value {
        json!({
            "name": self.name,
            "description": "Tells Accel what to convert. Written by accelctl harbor connect.",
            "enabled": true,
            "event_types": self.events,
            "targets": [self.target()],
        })
    }

    fn target(&self) -> Value {
        json!({
            "type": "http",
            "address": self.url.as_str(),
            "auth_header": self.header.expose(),
            "skip_cert_verify": self.skip_cert_verify,
            "payload_format": "Default",
        })
    }

    /// Where in a policy the target is that leads to Accel.
    fn target_in(&self, policy: &Value) -> Option<usize> {
        let targets = policy["targets"].as_array()?;
        targets.iter().position(|target| target["type"] == "http" && target["address"] == self.url.as_str())
    }

    fn correct(&self, policy: &Value) -> Plan {
        let (mut document, mut changes) = (policy.clone(), Vec::new());
        if policy["enabled"] != true {
            document["enabled"] = true.into();
            changes.push("enabled".to_owned());
        }
        let events: BTreeSet<&str> =
            policy["event_types"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if events != self.events {
            document["event_types"] = json!(self.events);
            changes.push(change("events", &list(&events), &list(&self.events)));
        }
        let mut targets = policy["targets"].as_array().cloned().unwrap_or_default();
        match self.target_in(policy).or_else(|| former(&targets)) {
            Some(at) => targets[at] = self.correct_target(&targets[at], &mut changes),
            None => {
                targets.push(self.target());
                changes.push(format!("address: {}", self.url.as_str()));
            }
        }
        document["targets"] = targets.into();
        Plan::of(policy, document, changes)
    }

    /// The target with what it has to say; the format of the payload stays, for Accel understands both.
    fn correct_target(&self, found: &Value, changes: &mut Vec<String>) -> Value {
        let (mut target, wanted) = (found.clone(), self.target());
        let text = |value: &Value| plain(value.as_str().unwrap_or_default());
        if found["address"] != wanted["address"] {
            changes.push(change("address", &text(&found["address"]), &text(&wanted["address"])));
        }
        if found["auth_header"] != wanted["auth_header"] {
            changes.push("auth header".to_owned());
        }
        if found["skip_cert_verify"].as_bool().unwrap_or_default() != self.skip_cert_verify {
            changes.push(format!("certificate check {}", if self.skip_cert_verify { "off" } else { "on" }));
        }
        for key in ["address", "auth_header", "skip_cert_verify"] {
            target[key] = wanted[key].clone();
        }
        target
    }
}

/// Where the target is that led to Accel before its address changed: an address of Accel's form, or the only one of
/// HTTP. Whatever else a policy tells stays as it is.
fn former(targets: &[Value]) -> Option<usize> {
    let http: Vec<(usize, &Value)> =
        targets.iter().enumerate().filter(|(_, target)| target["type"] == "http").collect();
    let has_form = |target: &Value| target["address"].as_str().is_some_and(|address| address.ends_with(WEBHOOK_PATH));
    match (http.iter().find(|(_, target)| has_form(target)), http.as_slice()) {
        (Some((at, _)), _) | (None, [(at, _)]) => Some(*at),
        (None, _) => None,
    }
}

fn list(events: &BTreeSet<&str>) -> String {
    let events: Vec<_> = events.iter().copied().map(plain).collect();
    if events.is_empty() { "none".to_owned() } else { events.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://accel.example/api/v1/conversions";

    fn wanted(events: &[&'static str]) -> Wanted {
        Wanted {
            project: "library".parse().unwrap(),
            name: "accel".to_owned(),
            url: URL.parse().unwrap(),
            header: Secret::new("s3cret"),
            events: events.iter().copied().collect(),
            skip_cert_verify: false,
        }
    }

    /// A policy as Harbor shows one.
    fn found(name: &str, address: &str) -> Value {
        json!({
            "id": 7, "name": name, "creator": "admin", "creation_time": "2026-01-01T00:00:00.000Z", "project_id": 1,
            "enabled": true, "event_types": ["PUSH_ARTIFACT"],
            "targets": [{"type": "http", "address": address, "auth_header": "s3cret", "payload_format": "CloudEvents"}],
        })
    }

    #[test]
    fn a_policy_that_is_right_stays() {
        for (name, address) in [("accel", URL), ("made by hand", URL)] {
            let plan = wanted(&[PUSH]).plan(&[found("other", "https://other.example/"), found(name, address)]);
            assert!(matches!(&plan, Plan::Keep(document) if document["name"] == name), "{plan:?}");
        }
    }

    #[test]
    fn a_policy_that_is_missing_is_created() {
        let plan = wanted(&[PUSH, DELETE]).plan(&[found("other", "https://other.example/")]);
        let Plan::Create(document) = plan else { panic!("{plan:?}") };
        assert_eq!(document["event_types"], json!(["DELETE_ARTIFACT", "PUSH_ARTIFACT"]));
        assert_eq!(document["targets"][0]["auth_header"], "s3cret");
        assert_eq!(document["targets"][0]["skip_cert_verify"], false);
    }

    #[test]
    fn a_policy_that_differs_is_corrected_and_keeps_the_rest() {
        type Differ = fn(&mut Value);
        let rows: [(Differ, &str); 7] = [
            (|policy| policy["enabled"] = false.into(), "enabled"),
            (|policy| policy["event_types"] = json!(["PULL_ARTIFACT"]), "events: PULL_ARTIFACT -> PUSH_ARTIFACT"),
            (|policy| policy["event_types"] = Value::Null, "events: none -> PUSH_ARTIFACT"),
            (|policy| policy["targets"] = json!([]), "address: https://accel"),
            (|policy| policy["targets"][0]["address"] = "http://old".into(), "address: http://old -> https://accel"),
            (|policy| policy["targets"][0]["auth_header"] = "old".into(), "auth header"),
            (|policy| policy["targets"][0]["skip_cert_verify"] = true.into(), "certificate check on"),
        ];
        for (differ, told) in rows {
            let mut policy = found("accel", URL);
            differ(&mut policy);
            let plan = wanted(&[PUSH]).plan(&[policy]);
            let Plan::Update { id, document, changes } = plan else { panic!("{told}: {plan:?}") };
            assert!(id == 7 && changes.len() == 1 && changes[0].starts_with(told), "{changes:?}");
            assert!(!changes[0].contains("s3cret"), "{changes:?}");
            assert_eq!(document["creator"], "admin");
            assert!(matches!(wanted(&[PUSH]).plan(&[document]), Plan::Keep(_)), "{told}: the second run does nothing");
        }
    }

    #[test]
    fn a_policy_of_our_name_keeps_the_targets_that_are_not_ours() {
        let slack = json!({"type": "slack", "address": "https://slack.example/"});
        let http = |address: &str| json!({"type": "http", "address": address});
        let (ours, old) = (wanted(&[PUSH]).target(), "https://old.example/api/v1/conversions");
        let others = [http("https://a.example/"), http("https://b.example/")];
        let rows = [
            (json!([slack]), json!([slack, ours])),
            (json!([slack, http("https://old.example/")]), json!([slack, ours])),
            (json!([others[0], http(old)]), json!([others[0], ours])),
            (json!([others[0], others[1]]), json!([others[0], others[1], ours])),
        ];
        for (targets, expected) in rows {
            let mut policy = found("accel", "");
            policy["targets"] = targets;
            let plan = wanted(&[PUSH]).plan(&[policy]);
            let Plan::Update { document, .. } = &plan else { panic!("{plan:?}") };
            let told = |target: &Value| target["address"].clone();
            let addresses = |targets: &Value| targets.as_array().unwrap().iter().map(told).collect::<Vec<_>>();
            assert_eq!(addresses(&document["targets"]), addresses(&expected), "{expected}");
            assert!(
                matches!(wanted(&[PUSH]).plan(std::slice::from_ref(document)), Plan::Keep(_)),
                "the second run does nothing"
            );
        }
    }

    #[test]
    fn other_targets_of_a_policy_stay() {
        let mut policy = found("made by hand", URL);
        let slack = json!({"type": "slack", "address": "https://slack.example/"});
        policy["targets"] = json!([slack, policy["targets"][0]]);
        policy["targets"][1]["auth_header"] = "old".into();
        let Plan::Update { document, .. } = wanted(&[PUSH]).plan(&[policy]) else { panic!() };
        assert_eq!(document["targets"][0], slack);
        assert_eq!(
            (document["targets"][1]["auth_header"].as_str(), document["targets"].as_array().unwrap().len()),
            (Some("s3cret"), 2)
        );
    }
}
