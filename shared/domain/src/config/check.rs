//! What must hold between the parts of a file, once each of them could be read.

mod registries;
mod rules;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::Faults;
use super::{Config, Server, Tasks};

/// Says every fault of `config`.
pub(super) fn all(config: &Config, faults: &Faults) {
    server(&config.server, faults);
    tasks(config.tasks, faults);
    registries::all(config, faults);
    rules::all(config, faults);
}

/// Says every secret of `config` that stands in the file itself.
pub(super) fn no_literal_secrets(config: &Config, faults: &Faults) {
    for key in config.literal_secrets() {
        let message = "the secret stands in the file itself, which is refused in AWS: put it into Secrets Manager or SSM, \
                       and write ${secretsmanager:NAME} or ${ssm:NAME} here";
        faults.say(&key, message);
    }
}

fn server(server: &Server, faults: &Faults) {
    within(faults, "server.workers", server.workers, 1..=256);
    within(faults, "server.threads", server.threads.unwrap_or(1), 1..=1024);
    let body = server.webhook_body.0;
    if !(1024..=64 << 20).contains(&body) {
        faults.say("server.webhook_body", format_args!("{} is not between 1KiB and 64MiB", server.webhook_body));
    }
    let empty = server.admin_auth.as_ref().and_then(|value| value.literal()).is_some_and(|value| value.is_empty());
    if empty {
        faults.say("server.admin_auth", EMPTY_AUTH);
    }
}

const EMPTY_AUTH: &str = "is empty: write the header's value as a reference like ${env:WEBHOOK_AUTH}, or leave it out";

fn tasks(tasks: Tasks, faults: &Faults) {
    within(faults, "tasks.attempts", tasks.attempts, 1..=100);
    let (shortest, longest) = (Duration::from_secs(60), Duration::from_secs(366 * 86_400));
    if !(shortest..=longest).contains(&tasks.retention.0) {
        faults.say("tasks.retention", format_args!("{} is not between 1m and 366d", tasks.retention));
    }
    within(faults, "tasks.fan_out.layers", tasks.fan_out.layers.unwrap_or(1), 1..=1000);
}

fn within<T: PartialOrd + Display>(faults: &Faults, path: &str, value: T, range: RangeInclusive<T>) {
    if !range.contains(&value) {
        faults.say(path, format_args!("{value} is not between {} and {}", range.start(), range.end()));
    }
}
