//! The robot account: what it may do in which project, and what a Harbor has to do for that.
//!
//! Projects that are not named keep the rights that the robot has there: connecting one more takes none away.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::address::Project;
use super::lifetime;
use super::plan::{Plan, change};
use crate::out::plain;

/// What a registry's client does: `pull`, `push`, `delete` on repositories.
pub(super) type Rights = BTreeSet<&'static str>;
/// The rights in each project.
pub(super) type Access = BTreeMap<Project, Rights>;

const REPOSITORY: &str = "repository";
/// The namespace that stands for all projects.
const ALL: &str = "*";

/// Whose a robot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    /// One for several projects; takes a system administrator.
    System,
    /// One of one project; an administrator of the project may make it.
    Project,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Project => "project",
        }
    }
}

/// The robot that Accel needs.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) level: Level,
    /// Days from its creation; 0 is forever.
    pub(super) days: Option<u32>,
    pub(super) access: Access,
}

impl Wanted {
    /// Which robots to look through, as Harbor's lists are narrowed down. `project_id` is that of a project's robot.
    pub(super) fn query(&self, project_id: Option<i64>) -> String {
        match (self.level, project_id) {
            (Level::Project, Some(id)) => format!("Level=project,ProjectID={id}"),
            (Level::System | Level::Project, _) => format!("Level=system,name={}", self.name),
        }
    }

    /// Ours among the robots that were found is the one of this name.
    pub(super) fn plan(&self, found: &[Value]) -> Plan {
        match found.iter().find(|robot| self.is_ours(robot)) {
            None => Plan::Create(self.document()),
            Some(robot) => self.correct(robot),
        }
    }

    /// Harbor puts a prefix before names, `robot$` unless it is configured otherwise, and the project before those of
    /// its robots, as in `robot$library+accel`.
    fn is_ours(&self, robot: &Value) -> bool {
        let Some(full) = robot["name"].as_str().filter(|_| robot["editable"] != false) else { return false };
        match self.level {
            Level::Project => full.rsplit_once('+').is_some_and(|(_, name)| name == self.name),
            Level::System => {
                let prefix = full.strip_suffix(self.name.as_str());
                prefix.is_some_and(|prefix| !prefix.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()))
            }
        }
    }

    fn document(&self) -> Value {
        let permissions = self.access.iter().map(|(project, rights)| permission(project.as_str(), rights));
        json!({
            "name": self.name,
            "description": "Accel reads images and writes accelerated ones beside them.",
            "level": self.level.word(),
            "disable": false,
            "duration": lifetime::of_new(self.days),
            "permissions": permissions.collect::<Vec<_>>(),
        })
    }

    fn correct(&self, robot: &Value) -> Plan {
        let (mut document, mut changes) = (robot.clone(), Vec::new());
        if let Some(fields) = document.as_object_mut() {
            fields.remove("secret");
        }
        if robot["disable"] == true {
            document["disable"] = false.into();
            changes.push("enabled".to_owned());
        }
        if let Some(days) = lifetime::named(self.days).filter(|days| robot["duration"] != *days) {
            lifetime::change(&mut document, days);
            changes.push(change("days", &robot["duration"].to_string(), &days.to_string()));
        }
        let mut permissions: Vec<Value> = robot["permissions"].as_array().cloned().unwrap_or_default();
        for (project, rights) in &self.access {
            if let Some(told) = correct_rights(&mut permissions, project, rights) {
                changes.push(told);
            }
        }
        document["permissions"] = permissions.into();
        Plan::of(robot, document, changes)
    }
}

/// The rights in one project as they should be; what has changed, if anything has.
fn correct_rights(permissions: &mut Vec<Value>, project: &Project, wanted: &Rights) -> Option<String> {
    let of = |namespace: &str| permissions.iter().position(|permission| permission["namespace"] == namespace);
    let (own, all) = (of(project.as_str()), of(ALL));
    let has = own.map(|at| rights(&permissions[at])).unwrap_or_default();
    let everywhere = all.map(|at| rights(&permissions[at])).unwrap_or_default();
    let covered = wanted.iter().all(|right| everywhere.contains(&format!("{REPOSITORY}:{right}")));
    let wanted_names: BTreeSet<String> = wanted.iter().map(|right| format!("{REPOSITORY}:{right}")).collect();
    if has == wanted_names || (own.is_none() && covered) {
        return None;
    }
    match own {
        Some(at) => permissions[at] = permission(project.as_str(), wanted),
        None => permissions.push(permission(project.as_str(), wanted)),
    }
    Some(change(&format!("rights in {project}"), &short(&has), &short(&wanted_names)))
}

fn permission(project: &str, rights: &Rights) -> Value {
    let access: Vec<_> = rights.iter().map(|right| json!({"resource": REPOSITORY, "action": right})).collect();
    json!({"kind": "project", "namespace": project, "access": access})
}

/// What a permission allows: `repository:pull`.
fn rights(permission: &Value) -> BTreeSet<String> {
    let access = permission["access"].as_array().into_iter().flatten();
    let allowed = access.filter(|access| access["effect"] != "deny");
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    allowed.map(|access| format!("{}:{}", text(&access["resource"]), text(&access["action"]))).collect()
}

fn short(rights: &BTreeSet<String>) -> String {
    let own = format!("{REPOSITORY}:");
    let names: Vec<&str> = rights.iter().map(|right| right.strip_prefix(&own).unwrap_or(right)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(access: &[(&str, &[&'static str])]) -> Wanted {
        let access =
            access.iter().map(|(project, rights)| (project.parse().unwrap(), rights.iter().copied().collect()));
        Wanted { name: "accel".to_owned(), level: Level::System, days: None, access: access.collect() }
    }

    /// A robot as Harbor shows one.
    fn found(name: &str, permissions: Value) -> Value {
        json!({
            "id": 3, "name": name, "level": "system", "editable": true, "disable": false, "duration": 30, "expires_at": 4_000_000_000_i64,
            "description": "d", "permissions": permissions,
        })
    }

    fn may(namespace: &str, rights: &[&str]) -> Value {
        let access: Vec<_> =
            rights.iter().map(|r| json!({"resource": "repository", "action": r, "effect": ""})).collect();
        json!({"kind": "project", "namespace": namespace, "access": access})
    }

    #[test]
    fn knows_its_robot() {
        let rows = [
            ("robot$accel", Level::System, true),
            ("bot_accel", Level::System, true),
            ("accel", Level::System, true),
            ("robot$other-xaccel", Level::System, false),
            ("robot$accel2", Level::System, false),
            ("robot$library+accel", Level::Project, true),
            ("robot$library+my-accel", Level::Project, false),
            ("robot$accel", Level::Project, false),
        ];
        for (name, level, expected) in rows {
            let wanted = Wanted { level, ..wanted(&[]) };
            assert_eq!(wanted.is_ours(&json!({"name": name, "editable": true})), expected, "{name}");
            assert!(!wanted.is_ours(&json!({"name": name, "editable": false})), "a robot of version 1 is left alone");
        }
    }

    #[test]
    fn a_robot_that_is_missing_is_created_with_what_it_needs() {
        let Plan::Create(document) = wanted(&[("library", &["pull", "push"])]).plan(&[found("robot$x", json!([]))])
        else {
            panic!()
        };
        assert_eq!(
            document["permissions"],
            json!([{"kind": "project", "namespace": "library", "access": [
            {"resource": "repository", "action": "pull"}, {"resource": "repository", "action": "push"}]}])
        );
        assert_eq!((&document["level"], &document["duration"]), (&json!("system"), &json!(365)));
    }

    #[test]
    fn rights_are_those_that_are_needed() {
        let both = &["pull", "push"];
        let rows: [(Value, Option<&str>); 6] = [
            (json!([may("library", both)]), None),
            (json!([may("team", &["pull"]), may("library", both)]), None),
            (json!([may("*", &["pull", "push", "delete"])]), None),
            (json!([may("library", &["pull"])]), Some("rights in library: pull -> pull push")),
            (
                json!([may("library", &["pull", "push", "delete"])]),
                Some("rights in library: delete pull push -> pull push"),
            ),
            (Value::Null, Some("rights in library: none -> pull push")),
        ];
        for (permissions, told) in rows {
            let wanted = wanted(&[("library", both)]);
            let plan = wanted.plan(&[found("robot$accel", permissions.clone())]);
            match (told, plan) {
                (None, Plan::Keep(_)) => {}
                (Some(told), Plan::Update { id: 3, document, changes }) => {
                    assert_eq!(changes, [told]);
                    assert!(matches!(wanted.plan(&[document]), Plan::Keep(_)), "the second run does nothing");
                }
                (_, plan) => panic!("{permissions}: {plan:?}"),
            }
        }
    }

    #[test]
    fn other_projects_and_the_lifetime_stay_unless_one_is_named() {
        let robot = found("robot$accel", json!([may("team", &["pull"])]));
        let Plan::Update { document, .. } = wanted(&[("library", &["pull"])]).plan(std::slice::from_ref(&robot)) else {
            panic!()
        };
        assert_eq!(document["permissions"][0], may("team", &["pull"]));
        assert_eq!(document["duration"], 30);
        let mut other = robot;
        other["disable"] = true.into();
        other["secret"] = "s3cret".into();
        let Plan::Update { document, changes, .. } = (Wanted { days: Some(0), ..wanted(&[]) }).plan(&[other]) else {
            panic!()
        };
        assert_eq!(changes, ["enabled", "days: 30 -> -1"]);
        assert!(document.get("secret").is_none() && document["duration"] == -1);
    }
}
