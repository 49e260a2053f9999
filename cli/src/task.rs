//! `accelctl task`: the tasks of a server, with acceld's verbs.

mod create;
mod list;
mod row;

use std::path::PathBuf;

use accel_domain::TaskId;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::{Address, Api, ApiError, AuthHeader, DEFAULT_ADDRESS};
use crate::args::Format;
use crate::https;
use crate::out::{self, out, plain};
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
    Retry(TasksArgs),
    /// Stop tasks.
    Cancel(TasksArgs),
}

/// Options of `task retry` and `task cancel`.
#[derive(Debug, Args)]
struct TasksArgs {
    /// The tasks.
    #[arg(required = true)]
    ids: Vec<TaskId>,
    /// How they are written, as they are now.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
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
        TaskCommand::Retry(args) => each(args, "runs again", async |id| api.retry(id).await).await,
        TaskCommand::Cancel(args) => each(args, "is cancelled", async |id| api.cancel(id).await).await,
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
        let ca_pem = https::authorities(self.ca_file.as_deref())?;
        Api::new(self.addr, AuthHeader { variable, value }, ca_pem.as_deref())
    }
}

/// Does `ask` to one task after the other. What was done before one is refused is told all the same.
async fn each(
    args: TasksArgs,
    what: &str,
    ask: impl AsyncFn(&TaskId) -> Result<Value, ApiError>,
) -> anyhow::Result<()> {
    let (mut done, mut refused) = (Vec::new(), None);
    for id in &args.ids {
        match ask(id).await {
            Ok(task) => {
                if args.output == Format::Text {
                    tell(id, what, task.clone());
                }
                done.push(task);
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    if args.output == Format::Json {
        out::json(&done)?;
    }
    refused.map_or(Ok(()), |error| Err(error.into()))
}

fn tell(id: &TaskId, what: &str, task: Value) {
    let row = Row::of(task);
    out!("{id} {what}: {} is {}", plain(&row.source), plain(&row.status));
}

fn show(task: &Value, output: Format) -> anyhow::Result<()> {
    let lines = task.as_object().context("the server's answer is no task")?;
    if output == Format::Json {
        return out::json(task);
    }
    let widest = lines.keys().map(|key| key.chars().count()).max().unwrap_or_default();
    for (key, value) in lines {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let value = if value == row::NOT_YET { "-".to_owned() } else { plain(&value) };
        out!("{:widest$}  {value}", plain(key));
    }
    Ok(())
}
