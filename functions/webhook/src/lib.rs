//! Takes push events and makes tasks of them.

mod payload;

mod rules;

mod plan;

mod admit;
mod wait;

use accel_domain::Timestamp;
use std::sync::Arc;
/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
pub use wait::SyncWait;
