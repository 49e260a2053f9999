//! Every path of a bootstrap.

use accel_stream::{EntryKind, Limits, Mtime};

use super::directory::DirectoryEntry;
use super::fault::FormatError;
use super::inode::Node;
use super::superblock::{Bootstrap, Layout};
use super::tables::ChunkRef;
use crate::attributes::device_parts;
use crate::bootstrap::{SLOT_BYTES, mode};

/// One file, under one of its paths. Under its second and each later one the target of a link, extended attributes and chunks are
/// left out: who has many names for a large file would otherwise make its reader look at them many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Its number: paths with the same number are hard links.
    pub nid: u64,
    /// Whether it was shown before, under another path.
    pub is_again: bool,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Mtime,
    /// Length of a file's content, 0 of anything else.
    pub size: u64,
    /// How many names it says it has; a directory two and one for each directory in it.
    pub nlink: u32,
    /// Major and minor number; 0 but for devices.
    pub dev: (u32, u32),
    /// Target of a symbolic link.
    pub link: Vec<u8>,
    /// Extended attributes in the order of the bootstrap.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The chunks that make up a file's content.
    pub chunks: Vec<ChunkRef>,
}

impl Bootstrap {
    /// Shows every path, without slashes at its ends, to `each`: the root first, which is empty, and every directory before
    /// what is in it.
    ///
    /// # Errors
    /// Something about an inode or a directory is wrong, or `limits` are passed.
    pub fn walk(&self, limits: Limits, each: &mut dyn FnMut(&[u8], &Inode)) -> Result<(), FormatError> {
        let mut path = Vec::new();
        let mut open = vec![(0, &b""[..], self.root()?.number)];
        let mut seen = Seen::new(self, limits);
        while let Some((parent, name, number)) = open.pop() {
            path.truncate(parent);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let (node, shown) = self.see(number, &path, &mut seen).map_err(|fault| fault.of_file(&path))?;
            each(&path, &shown);
            if node.kind == mode::DIRECTORY {
                let children = self.children(&node, &mut seen).map_err(|fault| fault.of_file(&path))?;
                open.extend(children.into_iter().rev().map(|(name, child)| (path.len(), name, child)));
            }
            if !shown.is_again {
                self.check_digest(&node).map_err(|fault| fault.of_file(&path))?;
            }
        }
        Ok(())
    }

    fn see(&self, number: u32, path: &[u8], seen: &mut Seen) -> Result<(Node<'_>, Inode), FormatError> {
        seen.path(path.len() as u64)?;
        let node = self.node_of_entry(number, seen)?;
        let is_again = !seen.inode(self, &node)?;
        let shown = self.inode(&node, is_again)?;
        Ok((node, shown))
    }

    /// The inode that an entry of a directory refers to by this number. Its extended attributes are
    /// looked at once, whatever names it has.
    pub(crate) fn node_of_entry(&self, number: u32, seen: &Seen) -> Result<Node<'_>, FormatError> {
        if seen.has(number) { self.unchecked_node(number) } else { self.node(number) }
    }

    /// Inodes of RAFS v5 have a digest.
    fn check_digest(&self, node: &Node<'_>) -> Result<(), FormatError> {
        match &self.layout {
            Layout::V5(records) if self.has_sha256() => records.check_digest(self.at(), node),
            Layout::V5(_) | Layout::V6 { .. } => Ok(()),
        }
    }

    fn children<'b>(&'b self, node: &Node<'b>, seen: &mut Seen) -> Result<Vec<DirectoryEntry<'b>>, FormatError> {
        self.entries(node).map(|entry| entry.and_then(|entry| seen.count().map(|()| entry))).collect()
    }

    fn inode(&self, node: &Node<'_>, is_again: bool) -> Result<Inode, FormatError> {
        let kind = match node.kind {
            mode::DIRECTORY => EntryKind::Directory,
            mode::SYMLINK => EntryKind::Symlink,
            mode::CHAR_DEVICE => EntryKind::CharDevice,
            mode::BLOCK_DEVICE => EntryKind::BlockDevice,
            mode::FIFO => EntryKind::Fifo,
            _ => EntryKind::Regular,
        };
        let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        Ok(Inode {
            nid: node.number.into(),
            is_again,
            kind,
            mode: node.mode.into(),
            uid: node.uid,
            gid: node.gid,
            mtime: node.mtime,
            size: if kind == EntryKind::Regular { node.size } else { 0 },
            nlink: node.links,
            dev: if is_device { device_parts(node.device()) } else { (0, 0) },
            link: if kind == EntryKind::Symlink && !is_again { self.target(node)?.to_vec() } else { Vec::new() },
            xattrs: if is_again { Vec::new() } else { node.xattrs()? },
            chunks: if kind == EntryKind::Regular && !is_again { self.shown_chunks(node)? } else { Vec::new() },
        })
    }

    fn shown_chunks(&self, node: &Node<'_>) -> Result<Vec<ChunkRef>, FormatError> {
        let chunks = self.file_chunks(node)?.map(|chunk| {
            let (chunk, place) = chunk?;
            Ok(ChunkRef {
                blob: chunk.blob() as u32,
                index: chunk.chunk(),
                digest: place.digest,
                compressed_offset: place.offset,
                compressed_size: place.stored_bytes,
                uncompressed_size: place.bytes,
                batch: place.batch,
            })
        });
        chunks.collect()
    }
}

/// Keeps a walk from going in circles or beyond the limits, and from reading the same bytes as part of many inodes.
pub(crate) struct Seen {
    limits: Limits,
    entries: u64,
    /// A bit for each number that an inode can have.
    inodes: Vec<u64>,
    /// How many bytes inodes have not taken.
    bytes_left: u64,
}

impl Seen {
    pub(crate) fn new(bootstrap: &Bootstrap, limits: Limits) -> Self {
        let bytes = bootstrap.at().len();
        let numbers = bytes / SLOT_BYTES + 1;
        Self { limits, entries: 0, inodes: vec![0; numbers.div_ceil(64) as usize], bytes_left: bytes }
    }

    /// Counts an entry of a directory.
    pub(crate) fn count(&mut self) -> Result<(), FormatError> {
        self.entries += 1;
        let limit = self.limits.entries;
        if self.entries > limit { Err(FormatError::TooManyEntries { limit }) } else { Ok(()) }
    }

    /// Holds the length of a path to the limit.
    pub(crate) fn path(&self, bytes: u64) -> Result<(), FormatError> {
        if bytes > self.limits.path_bytes {
            return Err(FormatError::part("path", "it is longer than the limit"));
        }
        Ok(())
    }

    /// Whether the inode of this number was seen.
    fn has(&self, number: u32) -> bool {
        self.inodes.get(number as usize / 64).is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// Takes note of an inode; says whether it was not seen before. A directory has one name.
    pub(crate) fn inode(&mut self, bootstrap: &Bootstrap, node: &Node<'_>) -> Result<bool, FormatError> {
        let (word, bit) = (node.number as usize / 64, 1 << (node.number % 64));
        let word = self.inodes.get_mut(word).ok_or(FormatError::part("inode", "its number is too large"))?;
        if *word & bit != 0 {
            let is_directory = node.kind == mode::DIRECTORY;
            return if is_directory { Err(FormatError::part("directory", "it is in two places")) } else { Ok(false) };
        }
        *word |= bit;
        let left = self.bytes_left.checked_sub(bootstrap.inode_bytes(node));
        self.bytes_left = left.ok_or(FormatError::part("inode", "it and others take more bytes than there are"))?;
        Ok(true)
    }
}
