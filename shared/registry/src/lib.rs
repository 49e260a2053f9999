//! The two ends of the pipeline: registries over HTTP, and OCI image layouts on disk.
//!
//! Bytes stream both ways and are verified on the way; nothing here holds a layer. A host that is not configured
//! gets no request, and credentials go nowhere but to their registry and its token realms.

mod credentials;
mod settings;

mod error;
mod refusal;
mod sent_authorization;

mod policy;
mod resolver;
mod retry;
mod tls;

mod challenge;
mod token;

mod exchange;

mod auth;

mod answer;
mod transport;

mod registries;

mod manifests;
mod referrers;

mod blobs;
mod download;
mod verify;

mod mounts;
mod uploads;

mod layout;

mod end;

pub use credentials::{CredentialError, Credentials, Login, LoginFuture, NoCredentials, StaticCredentials};
pub use end::{BlobStream, End, Upload};
pub use error::{Action, NetworkError, Object, RegistryError};
pub use layout::{Layout, LayoutError, LayoutName};
pub use manifests::PutReceipt;
pub use refusal::{Refusal, Refused};
pub use registries::{Registries, Repository};
pub use settings::{HostSettings, Retries, Timeouts};
