//! A task as the server's list shows it. Members that a server does not have stay empty, and those that are new here
//! are passed over: the client may be older or newer than its server.

use serde::Deserialize;
use serde_json::Value;

/// What stands for a time that is not yet.
pub(super) const NOT_YET: &str = "0001-01-01T00:00:00Z";

/// The members of a task that commands look at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) created: String,
    pub(super) source: String,
    pub(super) source_size: u64,
    pub(super) target_size: u64,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) target: String,
    pub(super) format: String,
    pub(super) phase: String,
    pub(super) progress: f64,
    pub(super) duration_seconds: f64,
    pub(super) attempts: u32,
}

impl Row {
    /// What can be read of a task.
    pub(super) fn of(task: Value) -> Self {
        serde_json::from_value(task).unwrap_or_default()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.status != "PROCESSING"
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_ended() && self.status != "COMPLETED"
    }

    /// The time in the zone that the server sent: `2006-01-02 15:04:05`.
    pub(super) fn created(&self) -> String {
        match (self.created.get(..10), self.created.get(11..19)) {
            (Some(date), Some(time)) => format!("{date} {time}"),
            _ => self.created.clone(),
        }
    }
}
