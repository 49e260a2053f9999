//! What was found and done in a Harbor, for people and for programs.

use serde::Serialize;

use super::plan::Plan;
use super::robot::Access;
use crate::args::Format;
use crate::out::{self, out, plain};

/// The whole of it.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) harbor: String,
    pub(super) version: String,
    /// Nothing was done, only looked.
    pub(super) dry_run: bool,
    pub(super) policies: Vec<PolicyLine>,
    pub(super) robot: Option<RobotLine>,
    pub(super) warnings: Vec<String>,
}

/// What became of a policy.
#[derive(Debug, Serialize)]
pub(super) struct PolicyLine {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) changes: Vec<String>,
}

/// What became of the robot.
#[derive(Serialize)]
pub(super) struct RobotLine {
    /// With Harbor's prefix, once Harbor has told it.
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) changes: Vec<String>,
    pub(super) access: Access,
    /// `null` is never, or not known yet.
    pub(super) expires: Option<String>,
    #[serde(skip)]
    pub(super) has_ended: bool,
    pub(super) new_secret: bool,
    pub(super) secret_file: Option<String>,
    /// Only if it was asked for.
    pub(super) secret: Option<String>,
}

/// What was, or would be, done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Created,
    Updated,
    Unchanged,
}

impl Action {
    pub(super) const fn of(plan: &Plan) -> Self {
        match plan {
            Plan::Create(_) => Self::Created,
            Plan::Update { .. } => Self::Updated,
            Plan::Keep(_) => Self::Unchanged,
        }
    }

    const fn words(self, dry_run: bool) -> &'static str {
        match (self, dry_run) {
            (Self::Created, false) => "created",
            (Self::Created, true) => "would be created",
            (Self::Updated, false) => "updated",
            (Self::Updated, true) => "would be updated",
            (Self::Unchanged, _) => "is right",
        }
    }
}

impl Report {
    /// Whether everything is as it should be, as far as it was looked at.
    pub(super) fn is_right(&self) -> bool {
        let mut actions = self.policies.iter().map(|line| line.action).chain(self.robot.iter().map(|line| line.action));
        self.warnings.is_empty() && actions.all(|action| action == Action::Unchanged)
    }

    pub(super) fn write(&self, output: Format) -> anyhow::Result<()> {
        if output == Format::Json {
            return out::json(self);
        }
        out!("{}: Harbor {}", self.harbor, plain(&self.version));
        for line in &self.policies {
            let changes = told(&line.changes);
            out!("{}: webhook policy {} {}{changes}", line.project, plain(&line.name), line.action.words(self.dry_run));
        }
        self.robot.iter().for_each(|line| line.write(self.dry_run));
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(())
    }
}

impl RobotLine {
    fn write(&self, dry_run: bool) {
        let is_left = self.has_ended && self.action == Action::Unchanged;
        let state = if is_left { "has expired" } else { self.action.words(dry_run) };
        out!("robot {} {state}{}", plain(&self.name), told(&self.changes));
        for (project, rights) in &self.access {
            out!("  {project}: {}", rights.iter().copied().collect::<Vec<_>>().join(" "));
        }
        if let Some(expires) = &self.expires {
            out!("  expires {expires}");
        }
        if self.new_secret && dry_run {
            out!("  it would get a new secret");
        }
        if let Some(file) = &self.secret_file {
            out!("  its secret is in {file}");
        }
        if let Some(secret) = &self.secret {
            out!("  secret: {secret}");
        }
    }
}

fn told(changes: &[String]) -> String {
    if changes.is_empty() { String::new() } else { format!(" ({})", changes.join("; ")) }
}
