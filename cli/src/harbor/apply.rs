//! Carries plans out, or says what would come of it.

use std::path::Path;

use accel_domain::{Secret, Timestamp};
use serde_json::{Value, json};

use super::call::Call;
use super::client::Harbor;
use super::plan::Plan;
use super::report::{Action, PolicyLine, Report, RobotLine};
use super::secret::{self, Place};
use super::{ConnectArgs, HarborError, Looked, lifetime, policy, robot};
use crate::out::plain;

/// What was done, and why it ended if it did before its end.
pub(super) struct Applied {
    pub(super) report: Report,
    pub(super) refused: Option<anyhow::Error>,
}

impl Looked {
    /// What would be done.
    pub(super) fn foreseen(mut self, new_secret: bool) -> Report {
        self.report.dry_run = true;
        self.report.policies = self.policies.iter().map(|(wanted, plan)| line_of_policy(wanted, plan)).collect();
        self.report.robot = self.robot.as_ref().map(|(wanted, plan)| line_of_robot(wanted, plan));
        if let Some(line) = &mut self.report.robot {
            line.new_secret = new_secret || line.action == Action::Created;
        }
        self.warn_of_logins();
        self.report
    }

    /// Does it: the robot first, since its secret is told once.
    pub(super) async fn apply(mut self, args: &ConnectArgs) -> anyhow::Result<Applied> {
        let place = self.place(args)?;
        let refused = self.write(place, args.robot_secret_file.as_deref()).await.err();
        self.warn_of_logins();
        Ok(Applied { report: self.report, refused })
    }

    /// The place for a new secret, if there will be one.
    fn place(&self, args: &ConnectArgs) -> anyhow::Result<Option<Place>> {
        let Some((_, plan)) = &self.robot else { return Ok(None) };
        if args.new_robot_secret || plan.creates() {
            let file = args.robot_secret_file.as_deref();
            return Ok(Some(Place::prepare(file, args.show_robot_secret, args.new_robot_secret)?));
        }
        Ok(None)
    }

    async fn write(&mut self, place: Option<Place>, file: Option<&Path>) -> anyhow::Result<()> {
        let Self { harbor, policies, robot, report, .. } = self;
        if let Some((wanted, plan)) = robot {
            let secret = write_robot(harbor, wanted, plan, place.is_some(), &mut report.robot).await?;
            if let (Some(place), Some(secret), Some(line)) = (place, secret, &mut report.robot) {
                line.secret = place.keep(secret)?.map(|secret| secret.expose().to_owned());
                line.secret_file = file.map(|file| file.display().to_string());
            }
        }
        for (wanted, plan) in policies {
            write_policy(harbor, wanted, plan).await?;
            report.policies.push(line_of_policy(wanted, plan));
        }
        Ok(())
    }

    /// A robot that is there keeps the secret that it was given once, which Harbor does not show again.
    pub(super) fn warn_of_secret(&mut self, args: &ConnectArgs) {
        let (Some((wanted, plan)), Some(file)) = (&self.robot, &args.robot_secret_file) else { return };
        if plan.creates() || args.new_robot_secret || secret::may_hold_secret(file) {
            return;
        }
        self.report.warnings.push(format!(
            "the robot {} is there already, and Harbor does not show its secret again: nothing is written to {}. If \
             nobody has kept the secret, --new-robot-secret makes another one and ends the old one at once",
            plain(&name_of(plan, &wanted.name)),
            file.display()
        ));
    }

    /// The robot helps only where the configuration logs in as it.
    fn warn_of_logins(&mut self) {
        let Some(line) = &self.report.robot else { return };
        if line.action == Action::Created && self.report.dry_run {
            return; // Harbor has not told the whole name yet
        }
        for login in &self.logins {
            if login.username.as_deref() != Some(line.name.as_str()) {
                let as_whom = login.username.as_deref().map_or("nobody".to_owned(), |name| format!("`{name}`"));
                let warning = format!(
                    "the configuration logs in as {as_whom} for {}, not as the robot: write `username: {}`",
                    login.project,
                    plain(&line.name)
                );
                self.report.warnings.push(warning);
            }
        }
    }
}

async fn write_policy(harbor: &Harbor, wanted: &policy::Wanted, plan: &Plan) -> Result<(), HarborError> {
    let call = match plan {
        Plan::Keep(_) => return Ok(()),
        Plan::Create(_) => Call::CreatePolicy(&wanted.project),
        Plan::Update { id, .. } => Call::ChangePolicy(&wanted.project, *id),
    };
    harbor.ask(call, Some(plan.document())).await.map(drop)
}

/// Gives the secret, where there is a new one. What is done is in the report at once, whatever fails behind it.
async fn write_robot(
    harbor: &Harbor,
    wanted: &robot::Wanted,
    plan: &Plan,
    new_secret: bool,
    told: &mut Option<RobotLine>,
) -> Result<Option<Secret>, HarborError> {
    let id = match plan {
        Plan::Create(document) => {
            let created = make_secret(harbor, Call::CreateRobot, document).await?;
            let line = told.insert(line_of_robot(wanted, plan));
            line.name = created["name"].as_str().unwrap_or(&line.name).to_owned();
            line.expires = lifetime::last_day(&created);
            line.new_secret = true;
            return secret_in(harbor, &created).map(Some);
        }
        Plan::Update { id, document, .. } => {
            harbor.ask(Call::ChangeRobot(*id), Some(document)).await?;
            *id
        }
        Plan::Keep(document) => document["id"].as_i64().unwrap_or_default(),
    };
    let line = told.insert(line_of_robot(wanted, plan));
    if !new_secret {
        return Ok(None);
    }
    let changed = make_secret(harbor, Call::NewSecret(id), &json!({"secret": ""})).await?;
    line.new_secret = true;
    secret_in(harbor, &changed).map(Some)
}

async fn make_secret(harbor: &Harbor, call: Call<'_>, body: &Value) -> Result<Value, HarborError> {
    harbor.ask(call, Some(body)).await.map_err(HarborError::while_making_a_secret)
}

fn secret_in(harbor: &Harbor, answer: &Value) -> Result<Secret, HarborError> {
    let secret = answer["secret"].as_str().filter(|secret| !secret.is_empty());
    let missing = || harbor.not_harbor("it gives no secret for the robot; --new-robot-secret asks for one");
    Ok(Secret::new(secret.ok_or_else(missing)?))
}

fn line_of_policy(wanted: &policy::Wanted, plan: &Plan) -> PolicyLine {
    PolicyLine {
        project: wanted.project.to_string(),
        name: name_of(plan, &wanted.name),
        action: Action::of(plan),
        changes: changes(plan),
    }
}

fn line_of_robot(wanted: &robot::Wanted, plan: &Plan) -> RobotLine {
    RobotLine {
        name: name_of(plan, &wanted.name),
        action: Action::of(plan),
        changes: changes(plan),
        access: wanted.access.clone(),
        expires: lifetime::last_day(plan.document()),
        has_ended: lifetime::expires(plan.document()).is_some_and(|end| end <= Timestamp::now()),
        new_secret: false,
        secret_file: None,
        secret: None,
    }
}

fn name_of(plan: &Plan, wanted: &str) -> String {
    plan.document()["name"].as_str().unwrap_or(wanted).to_owned()
}

fn changes(plan: &Plan) -> Vec<String> {
    match plan {
        Plan::Update { changes, .. } => changes.clone(),
        Plan::Create(_) | Plan::Keep(_) => Vec::new(),
    }
}
