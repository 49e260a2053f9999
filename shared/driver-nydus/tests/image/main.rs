//! Layers through driver, merge and reader, compared with the judge that applies the same layers.

#![allow(clippy::unwrap_used, reason = "what fails in a test is a failed test")]

mod built;

mod batch;
mod blob;
mod dictionary;
mod golden;
mod invariants;
mod kernel;
mod layers;
mod merge;
mod nydusd;
mod odd;
mod random;
mod reader;
mod upstreams_index;
mod v5;
mod v5_reader;
mod zran;
