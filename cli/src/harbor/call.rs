//! The calls of Harbor's API that are made, each with what it does and who may.

use std::fmt;

use reqwest::Method;

use super::address::Project;

/// One call. Its text completes "it refuses to".
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'a> {
    About,
    Project(&'a Project),
    Policies(&'a Project),
    CreatePolicy(&'a Project),
    ChangePolicy(&'a Project, i64),
    Robots,
    CreateRobot,
    ChangeRobot(i64),
    NewSecret(i64),
}

impl Call<'_> {
    pub(super) const fn method(self) -> Method {
        match self {
            Self::About | Self::Project(_) | Self::Policies(_) | Self::Robots => Method::GET,
            Self::CreatePolicy(_) | Self::CreateRobot => Method::POST,
            Self::ChangePolicy(..) | Self::ChangeRobot(_) => Method::PUT,
            Self::NewSecret(_) => Method::PATCH,
        }
    }

    /// The path behind `api/v2.0/`.
    pub(super) fn path(self) -> String {
        match self {
            Self::About => "systeminfo".to_owned(),
            Self::Project(project) => format!("projects/{project}"),
            Self::Policies(project) | Self::CreatePolicy(project) => format!("projects/{project}/webhook/policies"),
            Self::ChangePolicy(project, id) => format!("projects/{project}/webhook/policies/{id}"),
            Self::Robots | Self::CreateRobot => "robots".to_owned(),
            Self::ChangeRobot(id) | Self::NewSecret(id) => format!("robots/{id}"),
        }
    }

    /// Who may do it.
    pub(super) const fn who(self) -> &'static str {
        match self {
            Self::About | Self::Project(_) | Self::Policies(_) | Self::CreatePolicy(_) | Self::ChangePolicy(..) => {
                "an administrator of the project or of the system"
            }
            Self::Robots | Self::CreateRobot | Self::ChangeRobot(_) | Self::NewSecret(_) => {
                "a system administrator, or take --robot-level project as an administrator of the project"
            }
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::About => f.write_str("tell its version"),
            Self::Project(project) => write!(f, "show the project {project}"),
            Self::Policies(project) => write!(f, "list the webhook policies of {project}"),
            Self::CreatePolicy(project) => write!(f, "create the webhook policy of {project}"),
            Self::ChangePolicy(project, _) => write!(f, "change the webhook policy of {project}"),
            Self::Robots => f.write_str("list robot accounts"),
            Self::CreateRobot => f.write_str("create a robot account"),
            Self::ChangeRobot(_) => f.write_str("change the robot account"),
            Self::NewSecret(_) => f.write_str("give the robot account a new secret"),
        }
    }
}
