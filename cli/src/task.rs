//! `accelctl task`: the tasks of a server, with acceld's verbs.

mod create;
mod list;
mod row;

use std::path::PathBuf;

use accel_domain::TaskId;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::{Address, Api, AuthHeader, DEFAULT_ADDRESS};
use crate::args::Format;
use crate::out::{out, plain};
use row::Row;

/// The variable that is read where no other is named.
const ACCEL_AUTH: &str = "ACCEL_AUTH";

/// Options of `task`.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: TaskCommand,
}

/// The server. Its secret is no option: the arguments of a process are for everybody to see.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The server: host:port on this machine, or a URL. Plain HTTP goes to another machine only with `http://`.
    #[arg(long, global = true, value_name = "HOST:PORT|URL", default_value = DEFAULT_ADDRESS)]
    addr: Address,
    /// Take the value of the Authorization header from this environment variable [default: ACCEL_AUTH].
    #[arg(long, global = true, value_name = "NAME")]
    auth_env: Option<String>,
    /// A certificate file (PEM) to trust besides the system's.
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum TaskCommand {
    /// Ask for an image to be converted, as if it had just been pushed.
    Create(create::CreateArgs),
    /// List tasks, newest first.
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show everything about a task.
    Show {
        /// The task.
        id: TaskId,
        /// How it is written.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Run tasks again, from the beginning and at once.
    Retry {
        /// The tasks.
        #[arg(required = true)]
        ids: Vec<TaskId>,
    },
    /// Stop tasks.
    Cancel {
        /// The tasks.
        #[arg(required = true)]
        ids: Vec<TaskId>,
    },
}

/// Runs the command.
pub(crate) async fn run(args: TaskArgs) -> anyhow::Result<()> {
    let api = args.server.client()?;
    match args.command {
        TaskCommand::Create(args) => create::run(&api, args).await,
        TaskCommand::List(args) => list::run(&api, args).await,
        TaskCommand::Show { id, output } => {
            show(&api.get(&id).await?, output)?;
            Ok(())
        }
        TaskCommand::Retry { ids } => {
            for id in &ids {
                tell(id, "runs again", api.retry(id).await?);
            }
            Ok(())
        }
        TaskCommand::Cancel { ids } => {
            for id in &ids {
                tell(id, "is cancelled", api.cancel(id).await?);
            }
            Ok(())
        }
    }
}

impl ServerArgs {
    fn client(self) -> anyhow::Result<Api> {
        let variable = self.auth_env.clone().unwrap_or_else(|| ACCEL_AUTH.to_owned());
        let value = std::env::var(&variable).ok().filter(|value| !value.is_empty());
        if value.is_none() && self.auth_env.is_some() {
            bail!("the environment variable {variable}, which --auth-env names, is not set");
        }
        if value.is_some() && !self.addr.is_https() && !self.addr.is_loopback() {
            eprintln!("warning: the value of {variable} goes to {} in plain HTTP", self.addr);
        }
        let ca_pem = self.ca_file.as_ref().map(|file| {
            std::fs::read(file).with_context(|| format!("the certificate file {} cannot be read", file.display()))
        });
        Api::new(self.addr, AuthHeader { variable, value }, ca_pem.transpose()?.as_deref())
    }
}

fn tell(id: &TaskId, what: &str, task: Value) {
    let row = Row::of(task);
    out!("{id} {what}: {} is {}", plain(&row.source), plain(&row.status));
}

fn show(task: &Value, output: Format) -> anyhow::Result<()> {
    let lines = task.as_object().context("the server's answer is no task")?;
    if output == Format::Json {
        out!("{}", serde_json::to_string_pretty(task)?);
        return Ok(());
    }
    let widest = lines.keys().map(|key| key.chars().count()).max().unwrap_or_default();
    for (key, value) in lines {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = if value == row::NOT_YET { "-".to_owned() } else { plain(&value) };
        out!("{:widest$}  {value}", plain(key));
    }
    Ok(())
}
