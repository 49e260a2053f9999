//! The HTTP side of this crate against small servers on loopback: one behaviour or one fault each.
#![allow(clippy::unwrap_used, reason = "the server of a test may panic")]

mod double;

mod main_path;

mod auth;
mod hosts;
mod identity;
mod proxy;
mod pull;
mod push;
mod tls;
