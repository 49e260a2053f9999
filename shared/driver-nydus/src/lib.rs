//! Nydus images: RAFS v6, which the kernel mounts as EROFS, and RAFS v5, which nydusd alone reads. What is written here and
//! where it goes beyond the reference is in `docs/formats/nydus.md`.
//!
//! A layer becomes a blob: its files' contents in chunks, then what is known of them, then a *bootstrap*, the metadata
//! of the layer's tree. The bootstraps of all layers, merged, are the last layer of the image: with it alone the whole
//! file system can be mounted, and chunks are fetched when they are read.

mod compressor;
mod hashed;
mod names;
mod version;

mod attributes;
mod tree;

mod dictionary;
mod zran;

mod layer;

mod bootstrap;

mod merge;

pub mod reader;

pub use dictionary::{ChunkDictionary, DictionaryBuilder, DictionaryFault, DictionaryImage};
pub use layer::Nydus;
pub use names::{BLOB, BOOTSTRAP, FS_VERSION, REF_LAYER};
