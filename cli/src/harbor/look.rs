//! Looks at a Harbor, and works out what is to be done there. Nothing is written.

use std::collections::BTreeMap;

use accel_domain::Timestamp;

use super::address::Project;
use super::call::Call;
use super::client::{About, Harbor, ProjectInfo};
use super::plan::Plan;
use super::report::Report;
use super::wish::{ConfiguredLogin, Wish};
use super::{HarborError, SetUpArgs, lifetime, policy, robot};

/// A Harbor, looked at, and what is to be done there.
pub(super) struct Looked {
    pub(super) harbor: Harbor,
    pub(super) policies: Vec<(policy::Wanted, Plan)>,
    pub(super) robot: Option<(robot::Wanted, Plan)>,
    pub(super) logins: Vec<ConfiguredLogin>,
    pub(super) report: Report,
}

type Projects = BTreeMap<Project, ProjectInfo>;

impl Looked {
    /// Looks at everything that `args` are about.
    pub(super) async fn at(args: &SetUpArgs) -> anyhow::Result<Self> {
        let wish = Wish::of(args).await?;
        let harbor = args.open()?;
        let about = harbor.about().await?;
        let projects = projects(&harbor, &wish).await?;
        let mut warnings = wish.warnings;
        warnings.extend(about_warnings(&about));
        let mut policies = Vec::new();
        for wanted in wish.policies {
            let found = harbor.list(Call::Policies(&wanted.project), None).await?;
            let plan = wanted.plan(&found);
            policies.push((wanted, plan));
        }
        let robot = match wish.robot {
            Some(wanted) => {
                let plan = plan_robot(&harbor, &wanted, &projects).await?;
                warnings.extend(robot_warnings(&wanted, &plan, &projects));
                Some((wanted, plan))
            }
            None => None,
        };
        let (name, version) = (args.harbor.0.to_string(), about.version().to_owned());
        let report = Report { harbor: name, version, dry_run: false, policies: Vec::new(), robot: None, warnings };
        Ok(Self { harbor, policies, robot, logins: wish.logins, report })
    }
}

/// The projects that get a policy, and those where the robot gets rights; each is asked for once.
async fn projects(harbor: &Harbor, wish: &Wish) -> Result<Projects, HarborError> {
    let with_policy = wish.policies.iter().map(|wanted| &wanted.project);
    let with_rights = wish.robot.iter().flat_map(|wanted| wanted.access.keys());
    let mut projects = Projects::new();
    for project in with_policy.chain(with_rights) {
        if !projects.contains_key(project) {
            projects.insert(project.clone(), harbor.project(project).await?);
        }
    }
    Ok(projects)
}

async fn plan_robot(harbor: &Harbor, wanted: &robot::Wanted, projects: &Projects) -> Result<Plan, HarborError> {
    // A project's robot has one project.
    let id = wanted.access.keys().find_map(|project| projects.get(project)).map(|info| info.id);
    let found = harbor.list(Call::Robots, Some(&wanted.query(id))).await?;
    Ok(wanted.plan(&found))
}

fn robot_warnings(wanted: &robot::Wanted, plan: &Plan, projects: &Projects) -> Vec<String> {
    let pushed = wanted.access.iter().filter(|(_, rights)| rights.contains("push")).map(|(project, _)| project);
    let caches = pushed.filter(|project| projects.get(project).is_some_and(ProjectInfo::is_proxy_cache));
    let mut warnings: Vec<String> = caches
        .map(|project| {
            format!(
                "{project} is a proxy cache, which takes no pushes: send its targets to another project, with a rule \
                 like `target: \"accelerated/{{name}}:{{tag}}-esgz\"`"
            )
        })
        .collect();
    if !plan.creates() {
        warnings.extend(lifetime::warning(plan.document(), Timestamp::now()));
    }
    warnings
}

fn about_warnings(about: &About) -> Vec<String> {
    let mut warnings = Vec::new();
    if !about.sends_events() {
        warnings.push(
            "webhooks are off in the whole Harbor: an administrator turns them on (Configuration, System Settings)"
                .to_owned(),
        );
    }
    if about.is_read_only() {
        warnings.push("the Harbor is read-only: nothing can be pushed to it".to_owned());
    }
    warnings
}
