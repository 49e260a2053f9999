//! Settles messages: each names a task, or one layer of it, which is run under a lease and recorded as what became of
//! it.
//!
//! [`Converter::settle`] is the only place where the class of an error becomes an action.

mod settle;
mod unit;

mod sweep;

mod run;

mod convert;
mod delete;

mod counts;
mod heartbeat;
mod release;
mod report;

pub mod hosts;

#[cfg(feature = "lambda")]
pub mod lambda;

pub use release::release_leases;
pub use run::RunError;
pub use settle::{Converter, Verdict};
