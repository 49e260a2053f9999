//! The judge: what files an image holds, and where two images differ.
//!
//! It reads tars with code of its own and applies layers as the OCI image specification says, so that it can say
//! whether a converted image holds what its source held.

mod apply;
mod diff;
mod read;

use std::collections::BTreeMap;
use std::fmt;

use accel_image::{Digest, Document, media_type};
use accel_registry_server::Content;

pub use diff::diff;

use crate::compress;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// Everything about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// Seconds since 1970 and nanoseconds after them; `None` for a directory that no entry made.
    pub mtime: Option<(i64, u32)>,
    /// Bytes of content.
    pub size: u64,
    /// The digest of the content, of a regular file.
    pub digest: Option<Digest>,
    /// Where a symbolic link points.
    pub target: Vec<u8>,
    /// Major and minor number, of a device.
    pub device: Option<(u32, u32)>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// All paths of the same file, itself included, where there are several.
    pub links: Vec<Vec<u8>>,
}

/// A file system: nodes by path, without a slash at either end. The root is the empty path, if an entry names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The nodes.
    pub nodes: BTreeMap<Vec<u8>, Node>,
}

/// Why layers make no file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeError(pub(crate) String);

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TreeError {}

impl Tree {
    /// The file system of layers, bottom first, each an uncompressed tar.
    ///
    /// # Errors
    /// A tar cannot be read, or is sparse, or a hard link has no target.
    pub fn from_layers<L: AsRef<[u8]>>(layers: &[L]) -> Result<Self, TreeError> {
        let mut files = apply::Files::default();
        for layer in layers {
            files.apply(&read::entries(layer.as_ref())?)?;
        }
        Ok(files.into_tree())
    }

    /// The file system of an image in a registry, by tag or digest of its manifest.
    ///
    /// # Errors
    /// It is no image manifest, blobs are missing or do not unpack, or as in [`Tree::from_layers`].
    pub fn of_image(content: &Content, repository: &str, key: &str) -> Result<Self, TreeError> {
        let error = |what: String| TreeError(format!("{repository}/{key}: {what}"));
        let stored = content.manifest(repository, key).ok_or_else(|| error("no such manifest".to_owned()))?;
        let document =
            Document::parse(&stored.bytes, Some(&stored.media_type)).map_err(|parse| error(parse.to_string()))?;
        let Document::Manifest(manifest) = document else { return Err(error("an index".to_owned())) };
        let layers = manifest.layers.iter().filter(|layer| !media_type::is_foreign_layer(&layer.media_type));
        let tars = layers.map(|layer| {
            let blob = content.blob(repository, layer.digest);
            let blob = blob.ok_or_else(|| error(format!("layer {} is missing", layer.digest)))?;
            compress::unpack(&blob).map_err(|unpack| error(format!("layer {}: {unpack}", layer.digest)))
        });
        Self::from_layers(&tars.collect::<Result<Vec<_>, _>>()?)
    }

    /// The same file system without some paths, as formats add files of their own.
    #[must_use]
    pub fn without(mut self, paths: &[&str]) -> Self {
        for path in paths {
            self.nodes.remove(path.as_bytes());
        }
        self
    }
}
