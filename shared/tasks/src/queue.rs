//! The queue of messages.

use std::future::Future;
use std::time::Duration;

use accel_domain::task::{Unit, UnitKey};
use accel_domain::{Task, TaskId};
use accel_image::Digest;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The envelope of a task id, and of one layer where the task has fanned out. Never the task itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Which task.
    pub task: TaskId,
    /// The task's generation when the message was sent.
    pub generation: u32,
    /// Which invocation of that generation this asks for.
    #[serde(default)]
    pub part: u32,
    /// The source layer, where it is for a unit of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Digest>,
}

impl Message {
    /// The unit that it is for, if it is for one.
    #[must_use]
    pub fn unit(&self) -> Option<UnitKey> {
        let layer = self.layer?;
        Some(UnitKey { task: self.task.clone(), generation: self.generation, layer })
    }
}

impl From<&Task> for Message {
    /// The message that `task` waits for.
    fn from(task: &Task) -> Self {
        Self { task: task.id.clone(), generation: task.generation, part: task.work.part, layer: None }
    }
}

impl From<&Unit> for Message {
    /// The message that `unit` waits for.
    fn from(unit: &Unit) -> Self {
        let UnitKey { task, generation, layer } = unit.key.clone();
        Self { task, generation, part: unit.work.part, layer: Some(layer) }
    }
}

/// A message that was received and not yet acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// What acknowledges it.
    pub receipt: String,
    /// How often it was received, this time included.
    pub receives: u32,
}

/// Delivers messages at least once, in no order. A message that is received and neither acknowledged nor kept
/// comes back when its visibility time is over.
pub trait TaskQueue: Send + Sync + 'static {
    /// Sends a message that becomes visible after `delay`, at most [`accel_domain::task::LONGEST_DELAY`]. A queue that
    /// lies in the task store may note in the same write that the task's message was sent.
    fn send(&self, message: &Message, delay: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The next visible message, waiting up to `wait` for one; hidden from others for `visibility`.
    fn receive(
        &self,
        wait: Duration,
        visibility: Duration,
    ) -> impl Future<Output = Result<Option<Received>, StoreError>> + Send;

    /// The message is settled: it never comes back. A receipt that is not the latest one is harmless.
    fn acknowledge(&self, receipt: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Hides the message for another `visibility` from now.
    fn keep(&self, receipt: &str, visibility: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;
}
