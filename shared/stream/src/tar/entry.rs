//! One entry of a tar: what its headers say, and the headers themselves.

use super::header::{BLOCK_BYTES, Block};
use super::pax::Extensions;

/// One entry, its buffers reused from entry to entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// All header blocks as they were: PAX and GNU extension headers with payload and padding, the entry's own block,
    /// and the blocks that go on with an old GNU sparse map.
    pub raw: Vec<u8>,
    /// The path, verbatim: `./`, a trailing slash and bytes that are no UTF-8 are kept.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Target of a hard link or symbolic link, verbatim.
    pub link: Vec<u8>,
    /// Length of the payload in bytes: 0 for kinds that are only a header, whatever the header says.
    pub size: u64,
    /// The mode field, verbatim: permissions and whatever type bits the writer put there.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Owner's name; empty if unknown.
    pub user: Vec<u8>,
    /// Group's name; empty if unknown.
    pub group: Vec<u8>,
    /// Time of the last change.
    pub mtime: Mtime,
    /// Major number; 0 but for devices.
    pub dev_major: u32,
    /// Minor number; 0 but for devices.
    pub dev_minor: u32,
    /// Extended attributes (PAX `SCHILY.xattr.*` without that prefix), each name once, in order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the first header block lies, in bytes from the start of the tar.
    pub header_offset: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EntryKind {
    /// A file: type flag `0`, NUL or `7` (contiguous).
    #[default]
    Regular,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory: type flag `5`, or NUL with a path that ends in a slash.
    Directory,
    /// A named pipe.
    Fifo,
    /// PAX records meant for all later entries.
    GlobalHeader,
    /// A sparse file, as old GNU or as PAX `GNU.sparse.*`: the payload is not the file's content.
    Sparse,
    /// Another type flag.
    Unsupported(u8),
}

/// A point in time: `seconds` since 1970 rounded down, plus `nanos`, always below 10^9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mtime {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanos: u32,
}

impl Entry {
    /// Bytes of padding between the end of the payload and the next header block.
    #[must_use]
    pub const fn padding(&self) -> u64 {
        self.size.wrapping_neg() % BLOCK_BYTES as u64
    }

    /// Forgets the entry and begins one whose first header block lies at `header_offset`.
    pub(super) fn clear(&mut self, header_offset: u64) {
        for buffer in [&mut self.raw, &mut self.path, &mut self.link, &mut self.user, &mut self.group] {
            buffer.clear();
        }
        let Self { raw, path, link, user, group, .. } = std::mem::take(self);
        *self = Self { raw, path, link, user, group, header_offset, ..Self::default() };
    }

    /// Takes what the entry's own block and its extension headers say. A GNU long name wins over PAX, and PAX over the
    /// block, as in Go. On failure names the field of the block that is no number.
    pub(super) fn fill(&mut self, block: &Block, extensions: &Extensions) -> Result<(), &'static str> {
        let pax = &extensions.pax;
        block.copy_path(&mut self.path);
        replace(&mut self.path, [&pax.path, &pax.sparse_path, &extensions.long_name]);
        self.link.extend_from_slice(block.link());
        replace(&mut self.link, [&pax.link, &extensions.long_link]);
        self.user.extend_from_slice(block.user());
        replace(&mut self.user, [&pax.user]);
        self.group.extend_from_slice(block.group());
        replace(&mut self.group, [&pax.group]);

        self.kind = kind(block.type_flag(), &self.path, pax.sparse);
        self.mode = block.mode()?;
        self.uid = pax.uid.map_or_else(|| block.uid(), Ok)?;
        self.gid = pax.gid.map_or_else(|| block.gid(), Ok)?;
        self.mtime = pax.mtime.map_or_else(|| block.mtime(), Ok)?;
        if self.kind.has_payload() {
            self.size = pax.size.map_or_else(|| block.size(), Ok)?;
        }
        if matches!(self.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            self.dev_major = pax.dev_major.map_or_else(|| block.dev_major(), Ok)?;
            self.dev_minor = pax.dev_minor.map_or_else(|| block.dev_minor(), Ok)?;
        }
        self.xattrs.clone_from(&pax.xattrs);
        Ok(())
    }
}

impl EntryKind {
    /// Whether the header's size counts bytes that follow. Of the others only a lying header claims any; Go reads none.
    const fn has_payload(self) -> bool {
        match self {
            Self::Regular | Self::Sparse | Self::Unsupported(_) => true,
            Self::HardLink
            | Self::Symlink
            | Self::CharDevice
            | Self::BlockDevice
            | Self::Directory
            | Self::Fifo
            | Self::GlobalHeader => false,
        }
    }
}

fn kind(type_flag: u8, path: &[u8], pax_sparse: bool) -> EntryKind {
    match type_flag {
        // Before POSIX, a directory was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' if pax_sparse => EntryKind::Sparse,
        0 | b'0' | b'7' => EntryKind::Regular,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'S' => EntryKind::Sparse,
        other => EntryKind::Unsupported(other),
    }
}

/// Puts the last of `values` that is not empty into `field`.
fn replace<const N: usize>(field: &mut Vec<u8>, values: [&Vec<u8>; N]) {
    if let Some(value) = values.into_iter().rev().find(|value| !value.is_empty()) {
        field.clear();
        field.extend_from_slice(value);
    }
}
