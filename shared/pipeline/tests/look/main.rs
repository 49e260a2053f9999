//! Images looked at over real HTTP: verified against their sources, and inspected.

#![allow(clippy::unwrap_used, reason = "what fails in a test is a failed test")]

mod stage;

mod inspect;
mod nydus;
mod nydus_merged;
mod nydus_originals;
mod right;
mod wrong;
