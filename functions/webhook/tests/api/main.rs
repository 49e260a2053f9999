//! The webhook as its callers see it: requests in, answers and tasks out. The store is the embedded one, in a
//! temporary directory; the query function's routes stand beside the webhook's, as in `accelctl serve`.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

mod app;

mod contract;
mod control;
mod delivery;
mod faults;
mod hostile;
mod sync;
