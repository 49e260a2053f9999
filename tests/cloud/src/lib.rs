//! The HTTP API as its callers see it: one list of cases for every front door, whatever runs behind it.
//!
//! `accelctl serve` is tried with it in `cli/tests/contract.rs`, the API gateway of an emulated AWS in this crate's
//! own tests. A case asks over HTTP and looks into the registry, and at nothing else.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

pub mod target;

mod ask;

mod events;

pub mod cases;

pub use ask::{Answer, Ask, client};
pub use events::{Pushed, cloudevent, harbor, notification};
pub use target::{Key, Nowhere, Target};
