//! Layers through the driver, looked at with code that is not the driver's: gunzip, a JSON parser, the judge's tar
//! reader.

#![allow(clippy::unwrap_used, reason = "what fails in a test is a failed test")]

mod blob;

mod failures;
mod golden;
mod invariants;
mod odd;
mod prefetch;
mod random;
mod reader;
