//! The words of Accel, pure: events, rules, tasks and their transitions, configuration. No input, no output, no clock.

mod class;
mod size;

pub mod secret;

pub mod event;
pub mod format;
pub mod marker;
pub mod rule;
pub mod target;

pub mod config;

pub mod task;

pub use class::{ErrorClass, Retry};
pub use event::{Event, EventKind, Resource};
pub use format::{EstargzOptions, Format, FormatOptions, NydusCompressor, NydusOptions, UnknownCompressor};
pub use marker::Marker;
pub use rule::{Attestations, Output};
pub use secret::{Secret, SecretRef};
pub use size::ByteSize;
pub use target::TargetTemplate;
pub use task::{Task, TaskId};

/// A point in time, as stores and the API write it.
pub type Timestamp = jiff::Timestamp;
