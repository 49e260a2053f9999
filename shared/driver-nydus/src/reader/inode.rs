//! One inode.

use std::borrow::Cow;

use accel_stream::Mtime;

use super::bytes::Bytes;
use super::fault::FormatError;
use super::superblock::{Bootstrap, Layout};
use super::tables::ChunkTable;
use super::v5;
use crate::attributes::{Attributes, NAME_SPACES, XATTR_HEADER_BYTES, Xattr};
use crate::bootstrap::{
    BLOCK_BYTES, CHUNK_INDEXES, ChunkRef, EXTENDED_INODE, IMPLICIT_DIRECTORY, INODE_BYTES, INODE_RESERVED, SLOT_BYTES,
    data_layout, mode,
};
use crate::layer::ChunkPlace;

const WHAT: &str = "inode";

/// An inode whose fields and attributes are right; its data are checked when they are read.
#[derive(Clone)]
pub(crate) struct Node<'b> {
    pub(crate) number: u32,
    pub(crate) kind: u16,
    pub(super) mode: u16,
    /// Of a directory of RAFS v5 it says nothing.
    pub(crate) size: u64,
    /// The number of a device; of a directory of RAFS v5 that of its first child; else how the format has it.
    pub(super) union: u32,
    /// How many children or chunks: of RAFS v5 alone.
    pub(super) count: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
    pub(crate) links: u32,
    /// Of RAFS v6 alone.
    pub(super) layout: u16,
    pub(super) is_implicit: bool,
    /// As they lie behind an inode of RAFS v6.
    pub(super) xattrs: Cow<'b, [u8]>,
    /// Where what follows the attributes begins; of a symbolic link of RAFS v5 its target.
    pub(super) behind: u64,
}

/// The chunks of a file, each with its number of blob and chunk and its place.
pub(crate) type FileChunks<'b> = Box<dyn Iterator<Item = Result<(ChunkRef, ChunkPlace), FormatError>> + 'b>;

impl Bootstrap {
    pub(crate) fn root(&self) -> Result<Node<'_>, FormatError> {
        let root = self.node(self.root)?;
        if root.kind != mode::DIRECTORY {
            return Err(FormatError::part("root", "it is no directory"));
        }
        Ok(root)
    }

    /// The inode that a directory's entry refers to by this number.
    pub(crate) fn node(&self, number: u32) -> Result<Node<'_>, FormatError> {
        match &self.layout {
            Layout::V5(records) => records.node(self.at(), number),
            Layout::V6 { inodes, .. } => self.inode_at(inodes + u64::from(number) * SLOT_BYTES, number),
        }
    }

    /// The inode of this number, whose extended attributes are not looked at.
    pub(crate) fn unchecked_node(&self, number: u32) -> Result<Node<'_>, FormatError> {
        match &self.layout {
            Layout::V5(records) => records.node(self.at(), number),
            Layout::V6 { inodes, .. } => self.unchecked_inode_at(inodes + u64::from(number) * SLOT_BYTES, number),
        }
    }

    fn inode_at(&self, start: u64, number: u32) -> Result<Node<'_>, FormatError> {
        let node = self.unchecked_inode_at(start, number)?;
        Xattrs(node.xattrs.get(XATTR_HEADER_BYTES..).unwrap_or_default()).try_for_each(|entry| entry.map(drop))?;
        Ok(node)
    }

    /// An inode whose extended attributes are not looked at.
    fn unchecked_inode_at(&self, start: u64, number: u32) -> Result<Node<'_>, FormatError> {
        let at = Bytes(self.at().slice(WHAT, start, INODE_BYTES)?);
        let format = at.u16(WHAT, 0)?;
        if format & 1 != EXTENDED_INODE {
            return Err(FormatError::part(WHAT, "it has the short form, which has no time"));
        }
        let xattr_bytes = match at.u16(WHAT, 2)? {
            0 => 0,
            words => XATTR_HEADER_BYTES as u64 + 4 * (u64::from(words) - 1),
        };
        let xattrs = self.at().slice("extended attributes", start + INODE_BYTES, xattr_bytes)?;
        let mode_field = at.u16(WHAT, 4)?;
        let mtime = Mtime { seconds: at.u64(WHAT, 32)?.cast_signed(), nanos: at.u32(WHAT, 40)? };
        if mtime.nanos >= 1_000_000_000 {
            return Err(FormatError::part(WHAT, "its time has too many nanoseconds"));
        }
        let links = at.u32(WHAT, 44)?;
        if links == 0 {
            return Err(FormatError::part(WHAT, "it has no names"));
        }
        let node = Node {
            number,
            kind: mode_field & mode::TYPE,
            mode: mode_field & !mode::TYPE,
            size: at.u64(WHAT, 8)?,
            union: at.u32(WHAT, 16)?,
            count: 0,
            uid: at.u32(WHAT, 24)?,
            gid: at.u32(WHAT, 28)?,
            mtime,
            links,
            layout: format >> 1 & 7,
            is_implicit: at.u8(WHAT, INODE_RESERVED as u64)? == IMPLICIT_DIRECTORY,
            xattrs: xattrs.into(),
            behind: start + INODE_BYTES + xattr_bytes,
        };
        node.check_layout()?;
        Ok(node)
    }

    /// A piece of a directory's or symbolic link's data: what lies in block `block`.
    pub(super) fn data_block(&self, node: &Node<'_>, block: u64) -> Result<&[u8], FormatError> {
        let what = "data of a directory or link";
        let from = block * BLOCK_BYTES;
        let len = node.size.saturating_sub(from).min(BLOCK_BYTES);
        if node.layout == data_layout::INLINE && from + BLOCK_BYTES > node.size {
            return self.at().slice(what, node.behind, len);
        }
        self.at().slice(what, u64::from(node.union) * BLOCK_BYTES + from, len)
    }

    /// How many bytes an inode and its data take; of RAFS v5, whose records do not lie in each other, that is not counted.
    pub(super) fn inode_bytes(&self, node: &Node<'_>) -> u64 {
        if matches!(self.layout, Layout::V5(_)) {
            return 0;
        }
        let data = match node.kind {
            mode::FILE => node.size.div_ceil(self.chunk_size()).saturating_mul(8),
            mode::DIRECTORY | mode::SYMLINK => node.size,
            _ => 0,
        };
        data.saturating_add(INODE_BYTES + node.xattrs.len() as u64)
    }

    /// The target of a symbolic link.
    pub(crate) fn target(&self, node: &Node<'_>) -> Result<&[u8], FormatError> {
        if node.size == 0 || node.size >= BLOCK_BYTES {
            return Err(FormatError::part("symbolic link", "its target has an impossible length"));
        }
        match self.layout {
            Layout::V5(_) => self.at().slice("symbolic link", node.behind, node.size),
            Layout::V6 { .. } => self.data_block(node, 0),
        }
    }

    /// The chunks of a file.
    pub(crate) fn file_chunks(&self, node: &Node<'_>) -> Result<FileChunks<'_>, FormatError> {
        match &self.layout {
            Layout::V5(_) => v5::file_chunks(self.at(), node),
            Layout::V6 { chunks, .. } => self.indexed_chunks(chunks, node),
        }
    }

    fn indexed_chunks<'b>(&'b self, table: &'b ChunkTable, node: &Node<'_>) -> Result<FileChunks<'b>, FormatError> {
        let what = "chunks of a file";
        let (size, chunk_bytes) = (node.size, self.chunk_size());
        let count = size.div_ceil(chunk_bytes);
        let bytes = count.checked_mul(8).ok_or(FormatError::Outside { what, offset: node.behind })?;
        let indexes = self.at().slice(what, node.behind.next_multiple_of(8), bytes)?;
        let (indexes, _) = indexes.as_chunks::<8>();
        Ok(Box::new(indexes.iter().enumerate().map(move |(at, index)| {
            let index = Bytes(index);
            let (low, high) = (index.u16(what, 0)?, index.u16(what, 2)?);
            let device = high & 0xff;
            if device == 0 {
                return Err(FormatError::part(what, "a chunk lies in no blob"));
            }
            let chunk = ChunkRef::new((device - 1) as u8, u32::from(high >> 8) << 16 | u32::from(low));
            let place = table.find(chunk)?;
            let expected = chunk_bytes.min(size - at as u64 * chunk_bytes);
            if u64::from(place.bytes) != expected || place.block != index.u32(what, 4)? {
                return Err(FormatError::part(what, "the table of chunks says otherwise"));
            }
            Ok((chunk, place))
        })))
    }

    /// All chunks of the one blob that a layer's bootstrap has.
    pub(crate) fn into_layer_chunks(self) -> Result<Vec<ChunkPlace>, FormatError> {
        match self.layout {
            Layout::V5(records) => records.into_layer(&self.bytes),
            Layout::V6 { chunks, .. } => chunks.into_layer(self.blobs.first().is_some_and(super::Blob::is_original)),
        }
    }
}

impl Bootstrap {
    /// All chunks that the table of RAFS v6 lists, each with its number of blob and chunk and its place.
    pub(crate) fn into_listed_chunks(self) -> impl Iterator<Item = (ChunkRef, ChunkPlace)> {
        let table = match self.layout {
            Layout::V5(_) => ChunkTable::default(),
            Layout::V6 { chunks, .. } => chunks,
        };
        table.into_listed()
    }
}

impl<'b> Node<'b> {
    fn check_layout(&self) -> Result<(), FormatError> {
        let fits = match self.kind {
            mode::FILE => self.layout == data_layout::CHUNKED && self.union & CHUNK_INDEXES != 0,
            mode::DIRECTORY | mode::SYMLINK => matches!(self.layout, data_layout::PLAIN | data_layout::INLINE),
            mode::CHAR_DEVICE | mode::BLOCK_DEVICE | mode::FIFO => self.layout == data_layout::PLAIN,
            _ => return Err(FormatError::part(WHAT, "it is of a type that images do not have")),
        };
        if fits { Ok(()) } else { Err(FormatError::part(WHAT, "its data lie in a way that does not go with its type")) }
    }

    /// The number of a device.
    pub(crate) const fn device(&self) -> u32 {
        self.union
    }

    /// Whether it is a layer's directory that no entry made.
    pub(crate) const fn is_implicit(&self) -> bool {
        self.is_implicit
    }

    pub(crate) fn attributes(&self) -> Attributes {
        let xattrs = self.xattrs.as_ref().into();
        Attributes { mode: self.mode, uid: self.uid, gid: self.gid, mtime: self.mtime, xattrs }
    }

    /// Names and values of the extended attributes.
    pub(super) fn xattrs(&self) -> Result<Vec<Xattr>, FormatError> {
        Xattrs(self.xattrs.get(XATTR_HEADER_BYTES..).unwrap_or_default()).collect()
    }
}

/// Entries of extended attributes, one behind the other.
struct Xattrs<'b>(&'b [u8]);

impl Iterator for Xattrs<'_> {
    type Item = Result<Xattr, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.0 = &[];
        }
        Some(entry)
    }
}

impl Xattrs<'_> {
    fn entry(&mut self) -> Result<Xattr, FormatError> {
        let what = "extended attributes";
        let at = Bytes(self.0);
        let (name_len, index) = (u64::from(at.u8(what, 0)?), at.u8(what, 1)?);
        let value_len = u64::from(at.u16(what, 2)?);
        let space = NAME_SPACES.iter().find(|space| space.1 == index);
        let (space, _) = space.ok_or(FormatError::part(what, "a name space is not known"))?;
        let name = [*space, at.slice(what, 4, name_len)?].concat();
        let value = at.slice(what, 4 + name_len, value_len)?.to_vec();
        let end = (4 + name_len + value_len).next_multiple_of(4);
        self.0 = self.0.get(end as usize..).unwrap_or_default();
        Ok((name, value))
    }
}
