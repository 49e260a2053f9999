//! An entry of a TOC, as JSON has it. Spec: eStargz, "TOC entries".

use std::collections::BTreeMap;

use accel_image::Digest;
use serde::Deserialize;

/// What an entry of a TOC is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TocKind {
    /// A directory.
    Dir,
    /// A regular file, with its first chunk unless it is empty.
    Reg,
    /// A symbolic link.
    Symlink,
    /// A hard link.
    Hardlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A further chunk of the file before it.
    Chunk,
}

/// An entry of a TOC. What is left out in JSON is empty or 0 here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TocEntry {
    /// The name, verbatim as in the tar.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TocKind,
    /// A file's size in bytes.
    #[serde(default)]
    pub size: u64,
    /// Time of the last change, RFC 3339.
    #[serde(default)]
    pub modtime: String,
    /// Where a link points.
    #[serde(default)]
    pub link_name: String,
    /// The mode field.
    #[serde(default)]
    pub mode: u32,
    /// Owner.
    #[serde(default)]
    pub uid: u64,
    /// Group.
    #[serde(default)]
    pub gid: u64,
    /// Owner's name, where readers do not know it from an earlier entry.
    #[serde(default)]
    pub user_name: String,
    /// Group's name, where readers do not know it from an earlier entry.
    #[serde(default)]
    pub group_name: String,
    /// Where the chunk's member begins in the blob, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Where the chunk begins in what its member decompresses to.
    #[serde(default)]
    pub inner_offset: u64,
    /// A device's major number.
    #[serde(default)]
    pub dev_major: u32,
    /// A device's minor number.
    #[serde(default)]
    pub dev_minor: u32,
    /// Extended attributes; the values are base64.
    #[serde(default)]
    pub xattrs: BTreeMap<String, String>,
    /// A whole file's digest.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Where the chunk begins in its file, in bytes.
    #[serde(default)]
    pub chunk_offset: u64,
    /// The chunk's size in bytes; 0 for up to the end of the file.
    #[serde(default)]
    pub chunk_size: u64,
    /// The chunk's digest.
    #[serde(default)]
    pub chunk_digest: Option<Digest>,
}
