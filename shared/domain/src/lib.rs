//! The words of Accel, pure: events, rules, tasks and their transitions, configuration. No input, no output, no clock.

mod class;

pub use class::{ErrorClass, Retry};
