//! `accelctl harbor`: sets a Harbor up for Accel, through Harbor's API.
//!
//! Everything is looked at before anything is written, and what is right is not written at all.

mod address;
mod apply;
mod call;
mod client;
mod error;
mod lifetime;
mod look;
mod plan;
mod policy;
mod report;
mod robot;
mod secret;
mod wish;

use std::path::PathBuf;

use accel_domain::Secret;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use crate::args::Format;
use crate::connect::password;
use crate::exit::{DIFFERS, Quietly, WrongUsage};
use crate::https;
use address::{HarborAddress, Project, WebhookUrl};
use apply::Applied;
use client::Harbor;
use look::Looked;

pub(crate) use error::HarborError;

/// The variable that is read where no other is named.
const HARBOR_PASSWORD: &str = "HARBOR_PASSWORD";

#[derive(Debug, Subcommand)]
pub(crate) enum HarborCommand {
    /// Create or correct what Accel needs in a Harbor: a webhook policy in each project, and a robot account.
    ///
    /// A second run changes nothing. Other policies and robots are left alone.
    Connect(Box<ConnectArgs>),
    /// Look what `connect` would do, and at what else keeps events or conversions back; exit code 4 if there is any.
    Check(Box<SetUpArgs>),
}

/// What there should be in which Harbor.
#[derive(Debug, Args)]
pub(crate) struct SetUpArgs {
    /// The Harbor: HOST or HOST:PORT, or a URL. Plain HTTP is spoken only where http:// is written.
    #[arg(value_name = "HARBOR")]
    harbor: HarborAddress,
    /// The projects whose images are converted.
    #[arg(value_name = "PROJECT", required = true)]
    projects: Vec<Project>,
    /// Accel's webhook, as Harbor reaches it: https://HOST/api/v1/conversions; in AWS the stack's output WebhookUrl.
    #[arg(long, value_name = "URL")]
    webhook_url: WebhookUrl,
    /// Accel's configuration. It says where rules delete targets, which projects targets go to, and the webhook's secret.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the value of the webhook's Authorization header from this environment variable [default: WEBHOOK_AUTH; where
    /// that is not set, what --config says].
    #[arg(long, value_name = "NAME")]
    auth_env: Option<String>,
    /// Report deletions too, and let the robot delete: for rules with `delete: true`, where there is no --config.
    #[arg(long)]
    delete: bool,
    /// Let Harbor send events without checking the certificate of the webhook.
    #[arg(long)]
    skip_cert_verify: bool,
    /// The name of the webhook policies. One of another name that leads to the same URL is taken for ours, too.
    #[arg(long, value_name = "NAME", default_value = "accel")]
    policy_name: String,
    /// The name of the robot account, without Harbor's prefix.
    #[arg(long, value_name = "NAME", default_value = "accel", value_parser = robot_name)]
    robot: String,
    /// Whose the robot is.
    #[arg(long, value_enum, default_value = "system")]
    robot_level: robot::Level,
    /// Days from its creation after which the robot expires, 0 for never [default: 365 for a new one].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(..=36500))]
    robot_days: Option<u32>,
    /// Leave robot accounts alone.
    #[arg(long, conflicts_with_all = ["robot", "robot_level", "robot_days"])]
    no_robot: bool,
    /// Log in to Harbor as this administrator.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    username: String,
    /// Read the administrator's password from standard input.
    #[arg(long, conflicts_with = "password_env")]
    password_stdin: bool,
    /// Take the administrator's password from this environment variable [default: HARBOR_PASSWORD].
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,
    /// Send the password over plain HTTP although the Harbor is not on this machine.
    #[arg(long)]
    allow_plain_credentials: bool,
    /// A certificate file (PEM) to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Options of `harbor connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    set_up: SetUpArgs,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write the secret of a new robot to this file, which only its owner may read.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["show_robot_secret", "no_robot"])]
    robot_secret_file: Option<PathBuf>,
    /// Show the secret of a new robot in the report.
    #[arg(long, conflicts_with = "no_robot")]
    show_robot_secret: bool,
    /// Give a robot that is there already a new secret. The old one ends at once.
    #[arg(long, conflicts_with = "no_robot")]
    new_robot_secret: bool,
}

/// Runs the command.
pub(crate) async fn run(command: HarborCommand) -> anyhow::Result<()> {
    match command {
        HarborCommand::Connect(args) => connect(*args).await,
        HarborCommand::Check(args) => {
            let report = Looked::at(&args).await?.foreseen(false);
            report.write(args.output)?;
            if report.is_right() { Ok(()) } else { Err(Quietly(DIFFERS).into()) }
        }
    }
}

async fn connect(args: ConnectArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.robot_secret_file {
        secret::check_file(file)?;
    }
    let mut looked = Looked::at(&args.set_up).await?;
    looked.warn_of_secret(&args);
    if args.dry_run {
        return looked.foreseen(args.new_robot_secret).write(args.set_up.output);
    }
    // What was done before something is refused is told all the same.
    let Applied { report, refused } = looked.apply(&args).await?;
    report.write(args.set_up.output)?;
    refused.map_or(Ok(()), Err)
}

impl SetUpArgs {
    fn open(&self) -> anyhow::Result<Harbor> {
        let address = self.harbor.0.clone();
        if !address.is_https() && !address.is_loopback() && !self.allow_plain_credentials {
            let reason = format!(
                "{address} would get the password of {} in plain HTTP: write https://, or allow it with \
                                  --allow-plain-credentials",
                self.username
            );
            return Err(WrongUsage(reason).into());
        }
        let ca_pem = https::authorities(self.ca_file.as_deref())?;
        Harbor::new(address, self.username.clone(), self.password()?, ca_pem.as_deref())
    }

    fn password(&self) -> anyhow::Result<Secret> {
        if self.password_stdin {
            return Ok(Secret::new(password()?));
        }
        let variable = self.password_env.as_deref().unwrap_or(HARBOR_PASSWORD);
        let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
        let value = value.with_context(|| {
            format!(
                "the password of {} is not known: give it on standard input with --password-stdin, or in the \
                 environment variable {variable}",
                self.username
            )
        })?;
        Ok(Secret::new(value))
    }
}

/// As Harbor allows it.
fn robot_name(text: &str) -> anyhow::Result<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.chars().all(fits) || !text.starts_with(ends) || !text.ends_with(ends) {
        bail!("a robot's name is lower case letters and digits, with . _ - between them; Harbor adds its prefix");
    }
    Ok(text.to_owned())
}
