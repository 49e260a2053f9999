//! A small OCI registry in process, for `accelctl serve --demo` and for tests.
//!
//! It follows the OCI distribution specification 1.1, keeps everything in memory and forgets it when dropped.
//! [`RegistryServer`] listens, [`Registry`] is the router behind it, [`Content`] is what it holds.

mod server;

mod registry;

mod target;

mod blobs;
mod range;

mod uploads;

mod manifests;
mod referrers;

mod lists;

mod auth;
mod grants;

mod notice;

mod error;

mod content;
mod session;

pub mod demo;

pub use auth::{Auth, Scheme};
pub use content::{Content, StoredManifest};
pub use notice::{Action, Notice};
pub use registry::{MAX_MANIFEST_BYTES, Registry};
pub use server::RegistryServer;
pub use target::Target;
