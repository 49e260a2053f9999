//! What Accel needs in a Harbor: worked out from the command line and, where there is one, the configuration.

use std::collections::BTreeSet;
use std::path::Path;

use accel_domain::Secret;
use accel_domain::config::Config;
use accel_image::{Digest, Reference};
use accel_runtime::Secrets;
use anyhow::{Context as _, bail};
use reqwest::header::HeaderValue;

use super::address::Project;
use super::robot::{Access, Level, Rights};
use super::{SetUpArgs, policy, robot};
use crate::exit::WrongUsage;

/// The variable that is read where no other is named.
const WEBHOOK_AUTH: &str = "WEBHOOK_AUTH";

/// What has to be there.
pub(super) struct Wish {
    pub(super) policies: Vec<policy::Wanted>,
    pub(super) robot: Option<robot::Wanted>,
    pub(super) logins: Vec<ConfiguredLogin>,
    pub(super) warnings: Vec<String>,
}

/// As whom the configuration logs in for a project.
pub(super) struct ConfiguredLogin {
    pub(super) project: Project,
    pub(super) username: Option<String>,
}

/// The configuration, and the name that it has for the Harbor.
struct Configured {
    config: Config,
    host: String,
}

impl Wish {
    pub(super) async fn of(args: &SetUpArgs) -> anyhow::Result<Self> {
        let configured = args.config.as_deref().map(|file| Configured::load(file, &args.harbor.0.authority()));
        let configured = configured.transpose()?;
        let projects: BTreeSet<&Project> = args.projects.iter().collect();
        let named = named_header(args.auth_env.as_deref())?;
        let (mut policies, mut logins, mut warnings) = (Vec::new(), Vec::new(), args.warnings());
        for project in &projects {
            let header = match (&named, &configured) {
                (Some(named), _) => named.clone(),
                (None, Some(configured)) => configured.header(project).await?,
                (None, None) => bail!(
                    "the webhook needs its secret, the value of its Authorization header: set the environment variable \
                     {WEBHOOK_AUTH} to it, or take it from the configuration with --config FILE"
                ),
            };
            let has_rules = configured.as_ref().is_none_or(|configured| configured.rules(project) > 0);
            if !has_rules {
                warnings.push(format!("no rule of the configuration is for images of {project}: nothing is converted"));
            }
            let delete = args.delete || configured.as_ref().is_some_and(|configured| configured.deletes(project));
            policies.push(args.policy(project, header, delete)?);
            if let Some(configured) = &configured {
                logins.push(configured.login(project));
            }
        }
        let robot = if args.no_robot { None } else { Some(args.robot(&projects, configured.as_ref())?) };
        Ok(Self { policies, robot, logins, warnings })
    }
}

impl SetUpArgs {
    fn policy(&self, project: &Project, header: Secret, delete: bool) -> anyhow::Result<policy::Wanted> {
        if header.is_empty() || HeaderValue::from_str(header.expose()).is_err() {
            bail!("the webhook's secret for {project} is nothing that a header can hold");
        }
        let events =
            if delete { BTreeSet::from([policy::PUSH, policy::DELETE]) } else { BTreeSet::from([policy::PUSH]) };
        Ok(policy::Wanted {
            project: project.clone(),
            name: self.policy_name.clone(),
            url: self.webhook_url.clone(),
            header,
            events,
            skip_cert_verify: self.skip_cert_verify,
        })
    }

    fn robot(&self, projects: &BTreeSet<&Project>, configured: Option<&Configured>) -> anyhow::Result<robot::Wanted> {
        let access = match configured {
            Some(configured) => configured.access(projects),
            None => projects.iter().map(|project| ((*project).clone(), rights(true, self.delete))).collect(),
        };
        if self.robot_level == Level::Project && access.len() != 1 {
            let names: Vec<&str> = access.keys().map(Project::as_str).collect();
            return Err(WrongUsage(format!(
                "a project's robot works in one project, and this takes {}: take --robot-level system, or run the \
                 command once for each",
                names.join(", ")
            ))
            .into());
        }
        Ok(robot::Wanted { name: self.robot.clone(), level: self.robot_level, days: self.robot_days, access })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.webhook_url.is_plain() {
            warnings.push("Harbor sends the webhook's secret to Accel in plain HTTP".to_owned());
        }
        if self.skip_cert_verify {
            warnings
                .push("Harbor does not check whom it sends the webhook's secret to (--skip-cert-verify)".to_owned());
        }
        warnings
    }
}

impl Configured {
    fn load(file: &Path, authority: &str) -> anyhow::Result<Self> {
        let config = accel_runtime::config::load(Some(file))?;
        let host = config.host_of(authority).map(str::to_owned).with_context(|| {
            format!(
                "{} has no registry {authority}: name the Harbor as `registries` or its `aliases` do, or add it there",
                file.display()
            )
        })?;
        Ok(Self { config, host })
    }

    fn rules(&self, project: &Project) -> usize {
        self.config.rules_of_project(&self.host, project.as_str()).count()
    }

    fn deletes(&self, project: &Project) -> bool {
        let mut rules = self.config.rules_of_project(&self.host, project.as_str());
        rules.any(|rule| rule.convert.iter().any(|entry| entry.delete))
    }

    async fn header(&self, project: &Project) -> anyhow::Result<Secret> {
        let reference = self.config.webhook_secret_for(&self.host, project.as_str());
        let reference = reference.with_context(|| {
            format!(
                "the configuration has no `webhook_auth` for {}/{project}: add one, or set the environment variable \
                 {WEBHOOK_AUTH} to the value",
                self.host
            )
        })?;
        let looked_up = Secrets::default().current(reference).await;
        looked_up.with_context(|| {
            format!(
                "the webhook's secret for {project} cannot be looked up here; the environment variable {WEBHOOK_AUTH} \
                 goes before the configuration"
            )
        })
    }

    fn login(&self, project: &Project) -> ConfiguredLogin {
        let login = self.config.login_for(&self.host, &format!("{project}/image"));
        ConfiguredLogin { project: project.clone(), username: login.map(|(username, _)| username.to_owned()) }
    }

    /// The named projects, those that their targets go to, and those that chunk dictionaries are in. Harbor keeps the rights
    /// in a project as a whole, so in each stands what the targets of all rules need there.
    fn access(&self, projects: &BTreeSet<&Project>) -> Access {
        let others = projects.iter().flat_map(|project| [self.targets_of(project), self.dictionaries_of(project)]);
        let reached: BTreeSet<Project> = projects.iter().copied().cloned().chain(others.flatten()).collect();
        let with_rights = reached.into_iter().map(|project| {
            let entries: Vec<_> = self.config.entries_into(&self.host, project.as_str()).collect();
            let rights = rights(!entries.is_empty(), entries.iter().any(|entry| entry.delete));
            (project, rights)
        });
        with_rights.collect()
    }

    /// Where in this Harbor the targets of a project's images go.
    fn targets_of(&self, project: &Project) -> Vec<Project> {
        let source = Reference::new(&self.host, &format!("{project}/image"), Some("tag"), None);
        let Ok(source) = source else { return Vec::new() };
        let entries = self.config.rules_of_project(&self.host, project.as_str()).flat_map(|rule| &rule.convert);
        let targets = entries.filter_map(|entry| entry.target.expand(&source, Some(Digest::of(b""))).ok());
        let here = targets.filter(|target| self.config.host_of(target.host()) == Some(&self.host));
        here.filter_map(|target| target.project().parse().ok()).collect()
    }

    /// Where in this Harbor the chunk dictionaries are of what is made of a project's images, or for the project.
    fn dictionaries_of(&self, project: &Project) -> Vec<Project> {
        let entries = self.config.rules_of_project(&self.host, project.as_str()).flat_map(|rule| &rule.convert);
        let images = entries
            .chain(self.config.entries_into(&self.host, project.as_str()))
            .filter_map(|entry| entry.options.chunk_dictionary());
        let here = images.filter(|image| self.config.host_of(image.host()) == Some(&self.host));
        here.filter_map(|image| image.project().parse().ok()).collect()
    }
}

/// Everything is pulled, sources and targets.
fn rights(push: bool, delete: bool) -> Rights {
    let all = [Some("pull"), push.then_some("push"), delete.then_some("delete")];
    all.into_iter().flatten().collect()
}

/// The value that the environment has: of the variable that was named, or of the usual one.
fn named_header(named: Option<&str>) -> anyhow::Result<Option<Secret>> {
    let value = std::env::var(named.unwrap_or(WEBHOOK_AUTH)).ok().filter(|value| !value.is_empty());
    match (value, named) {
        (None, Some(variable)) => bail!("the environment variable {variable}, which --auth-env names, is not set"),
        (value, _) => Ok(value.map(Secret::new)),
    }
}
