//! Where tasks, messages and layer records are kept: three traits, their implementations, and the conformance
//! suite that each implementation has to pass.
//!
//! The rules of a task's life are in `accel_domain::task`; a store only keeps them atomic.

mod store;

mod queue;

mod layers;

pub use layers::{LayerCache, LayerKey, LayerOutcome, LayerRecord};
pub use queue::{Message, Received, TaskQueue};
pub use store::{Admission, ListQuery, Page, StoreError, TaskStore};
