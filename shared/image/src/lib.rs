//! The words of the OCI image and distribution specifications, as types that cannot be wrong.
//!
//! Nothing here does input or output. Documents keep every field they do not understand, and their raw
//! bytes where a digest depends on them.

mod shown;

mod digest;
mod reference;

mod platform;

pub mod media_type;

mod descriptor;
mod document;
mod manifest;

mod config;

pub use config::ImageConfig;
pub use descriptor::{Annotations, Descriptor};
pub use digest::{Digest, DigestError, Hasher};
pub use document::{Document, DocumentError, MAX_DOCUMENT_BYTES, RawDocument};
pub use manifest::{Index, Manifest};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, is_tag};
