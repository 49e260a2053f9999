//! Where tasks, messages and layer records are kept: three traits, their implementations, and the conformance
//! suite that each implementation has to pass.
//!
//! The rules of a task's life are in `accel_domain::task`; a store only keeps them atomic.

mod store;

mod queue;

mod layers;

mod units;

mod sweep;

#[cfg(feature = "embedded")]
pub mod embedded;

#[cfg(feature = "aws")]
pub mod aws;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

#[cfg(feature = "embedded")]
pub use embedded::Embedded;
pub use layers::{LayerCache, LayerKey, LayerOutcome, LayerRecord};
pub use queue::{Message, Received, TaskQueue};
pub use store::{Admission, ListQuery, PAGE_ROWS, Page, StoreError, TaskStore, is_visible};
pub use sweep::{Swept, enqueue, sweep};
pub use units::{UnitStart, enqueue_unit, fail_unit, renew_unit, start_unit};
