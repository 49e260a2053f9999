//! Carries plans out, or says what would come of it.

use std::path::PathBuf;

use accel_domain::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Harbor;
use super::plan::Plan;
use super::report::{Action, PolicyLine, Report, RobotLine};
use super::secret::Place;
use super::{ConnectArgs, Looked, policy, robot};
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
        let refused = self.write(place, args.robot_secret_file.clone()).await.err();
        self.warn_of_logins();
        Ok(Applied { report: self.report, refused })
    }

    /// The place for a new secret, if there will be one.
    fn place(&self, args: &ConnectArgs) -> anyhow::Result<Option<Place>> {
        let Some((_, plan)) = &self.robot else { return Ok(None) };
        if args.new_robot_secret || matches!(plan, Plan::Create(_)) {
            let file = args.robot_secret_file.as_deref();
            return Ok(Some(Place::prepare(file, args.show_robot_secret, args.new_robot_secret)?));
        }
        Ok(None)
    }

    async fn write(&mut self, place: Option<Place>, file: Option<PathBuf>) -> anyhow::Result<()> {
        if let Some((wanted, plan)) = &self.robot {
            let mut line = line_of_robot(wanted, plan);
            let secret = write_robot(&self.harbor, plan, place.is_some(), &mut line).await?;
            line.new_secret = secret.is_some();
            let line = self.report.robot.insert(line);
            if let (Some(place), Some(secret)) = (place, secret) {
                line.secret = place.keep(secret)?.map(|secret| secret.expose().to_owned());
                line.secret_file = file.map(|file| file.display().to_string());
            }
        }
        for (wanted, plan) in &self.policies {
            write_policy(&self.harbor, wanted, plan).await?;
            self.report.policies.push(line_of_policy(wanted, plan));
        }
        Ok(())
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

async fn write_policy(harbor: &Harbor, wanted: &policy::Wanted, plan: &Plan) -> anyhow::Result<()> {
    let path = format!("projects/{}/webhook/policies", wanted.project);
    match plan {
        Plan::Keep(_) => {}
        Plan::Create(document) => {
            let what = format!("create the webhook policy of {}", wanted.project);
            harbor.ask(Method::POST, &path, Some(document), &what).await?;
        }
        Plan::Update { id, document, .. } => {
            let what = format!("change the webhook policy of {}", wanted.project);
            harbor.ask(Method::PUT, &format!("{path}/{id}"), Some(document), &what).await?;
        }
    }
    Ok(())
}

/// Gives the secret, where there is a new one.
async fn write_robot(
    harbor: &Harbor,
    plan: &Plan,
    new_secret: bool,
    line: &mut RobotLine,
) -> anyhow::Result<Option<Secret>> {
    match plan {
        Plan::Create(document) => {
            let created = harbor.ask(Method::POST, "robots", Some(document), "create a robot account").await?;
            if let Some(name) = created["name"].as_str() {
                line.name = name.to_owned();
            }
            line.expires = day(&created);
            return Ok(Some(secret_in(harbor, &created)?));
        }
        Plan::Update { id, document, .. } => {
            let (path, what) = (format!("robots/{id}"), "change the robot account");
            harbor.ask(Method::PUT, &path, Some(document), what).await?;
            line.expires = day(&harbor.ask(Method::GET, &path, None, what).await?);
        }
        Plan::Keep(_) => {}
    }
    if !new_secret {
        return Ok(None);
    }
    let path = format!("robots/{}", plan.document()["id"].as_i64().unwrap_or_default());
    let empty = json!({"secret": ""});
    let changed = harbor.ask(Method::PATCH, &path, Some(&empty), "give the robot account a new secret").await?;
    Ok(Some(secret_in(harbor, &changed)?))
}

fn secret_in(harbor: &Harbor, answer: &Value) -> anyhow::Result<Secret> {
    let secret = answer["secret"].as_str().filter(|secret| !secret.is_empty());
    let missing = || harbor.not_harbor("it gives no secret for the robot; --new-robot-secret asks for one");
    Ok(Secret::new(secret.ok_or_else(missing)?))
}

fn line_of_policy(wanted: &policy::Wanted, plan: &Plan) -> PolicyLine {
    PolicyLine {
        project: wanted.project.to_string(),
        name: plan.document()["name"].as_str().unwrap_or(&wanted.name).to_owned(),
        action: Action::of(plan),
        changes: changes(plan),
    }
}

fn line_of_robot(wanted: &robot::Wanted, plan: &Plan) -> RobotLine {
    RobotLine {
        name: plan.document()["name"].as_str().unwrap_or(&wanted.name).to_owned(),
        action: Action::of(plan),
        changes: changes(plan),
        access: wanted.access.clone(),
        expires: day(plan.document()),
        new_secret: false,
        secret_file: None,
        secret: None,
    }
}

fn changes(plan: &Plan) -> Vec<String> {
    match plan {
        Plan::Update { changes, .. } => changes.clone(),
        Plan::Create(_) | Plan::Keep(_) => Vec::new(),
    }
}

fn day(robot: &Value) -> Option<String> {
    robot::expires(robot).map(|end| end.strftime("%Y-%m-%d").to_string())
}
