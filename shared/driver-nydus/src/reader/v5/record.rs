//! One record: an inode under one of its names.

use std::borrow::Cow;

use accel_stream::Mtime;

use crate::attributes::{self, Xattr};
use crate::bootstrap::v5::{ALIGN, INODE_BYTES, INODE_RESERVED, XATTR_HEAD_BYTES, inode_flag};
use crate::bootstrap::{CHUNK_BYTES, IMPLICIT_DIRECTORY, mode};
use crate::reader::bytes::Bytes;
use crate::reader::{FormatError, Node};

const WHAT: &str = "inode";
const XATTRS: &str = "extended attributes";
/// No attributes of an inode that RAFS v6 holds, too, are longer.
const MOST_XATTR_BYTES: u64 = 1 << 20;

/// A record whose parts lie in the bootstrap, one behind the other.
pub(super) struct Record<'b> {
    start: u64,
    inode: &'b [u8],
    pub(super) name: &'b [u8],
    target: &'b [u8],
    xattrs: &'b [u8],
    pub(super) chunks: &'b [u8],
    /// Where the chunks begin.
    pub(super) chunks_at: u64,
    pub(super) end: u64,
}

impl<'b> Record<'b> {
    /// The record at `start`.
    pub(super) fn at(at: Bytes<'b>, start: u64) -> Result<Self, FormatError> {
        let inode = at.slice(WHAT, start, INODE_BYTES)?;
        let fields = Bytes(inode);
        let name_at = start + INODE_BYTES;
        let name = at.slice(WHAT, name_at, fields.u16(WHAT, 100)?.into())?;
        let target_at = (name_at + name.len() as u64).next_multiple_of(ALIGN);
        let target = at.slice("symbolic link", target_at, fields.u16(WHAT, 102)?.into())?;
        let mut next = (target_at + target.len() as u64).next_multiple_of(ALIGN);
        let mut xattrs = &[][..];
        if fields.u64(WHAT, 80)? & inode_flag::XATTR != 0 {
            let bytes = at.u64(XATTRS, next)?;
            if bytes > MOST_XATTR_BYTES {
                return Err(FormatError::part(XATTRS, "they are longer than those of any file"));
            }
            xattrs = at.slice(XATTRS, next + XATTR_HEAD_BYTES, bytes)?;
            next = (next + XATTR_HEAD_BYTES + xattrs.len() as u64).next_multiple_of(ALIGN);
        }
        let count = if kind(fields)? == mode::FILE { fields.u32(WHAT, 96)? } else { 0 };
        let chunks = at.slice("chunks of a file", next, u64::from(count) * CHUNK_BYTES as u64)?;
        let end = next + chunks.len() as u64;
        Ok(Self { start, inode, name, target, xattrs, chunks, chunks_at: next, end })
    }

    const fn fields(&self) -> Bytes<'b> {
        Bytes(self.inode)
    }

    /// The digest that it says it has.
    pub(super) fn digest(&self) -> Result<&'b [u8], FormatError> {
        self.fields().slice(WHAT, 0, 32)
    }

    /// The number of the directory that it is in.
    pub(super) fn parent(&self) -> Result<u64, FormatError> {
        self.fields().u64(WHAT, 32)
    }

    /// The number of its inode.
    pub(super) fn inode_number(&self) -> Result<u64, FormatError> {
        self.fields().u64(WHAT, 40)
    }

    /// The length of its content.
    pub(super) fn size(&self) -> Result<u64, FormatError> {
        self.fields().u64(WHAT, 64)
    }

    /// Whether both say the same but for name and directory.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        let but_names = |record: &Self| [&record.inode[..32], &record.inode[40..100], &record.inode[102..]];
        but_names(self) == but_names(other)
            && (self.target, self.xattrs, self.chunks) == (other.target, other.xattrs, other.chunks)
    }

    /// The inode, whose fields and attributes are right.
    pub(super) fn node(&self, chunk_bytes: u32) -> Result<Node<'b>, FormatError> {
        let fields = self.fields();
        let fault = |reason| Err(FormatError::part(WHAT, reason));
        let number = u32::try_from(self.inode_number()?);
        let kind = kind(fields)?;
        let (size, first_child, count) = (self.size()?, fields.u32(WHAT, 92)?, fields.u32(WHAT, 96)?);
        let (device, links) = (fields.u32(WHAT, 104)?, fields.u32(WHAT, 88)?);
        let mtime = Mtime { seconds: fields.u64(WHAT, 112)?.cast_signed(), nanos: fields.u32(WHAT, 108)? };
        if mtime.nanos >= 1_000_000_000 {
            return fault("its time has too many nanoseconds");
        }
        if links == 0 {
            return fault("it has no names");
        }
        let has_holes = fields.u64(WHAT, 80)? & inode_flag::HOLES != 0;
        if kind == mode::FILE && (has_holes || size.div_ceil(chunk_bytes.into()) != u64::from(count)) {
            return fault("it has more or fewer chunks than its size needs");
        }
        if (kind == mode::SYMLINK) == self.target.is_empty() {
            return fault("symbolic links alone have a target");
        }
        let is_directory = kind == mode::DIRECTORY;
        Ok(Node {
            number: number.map_err(|_| FormatError::part(WHAT, "its number is too large"))?,
            kind,
            mode: fields.u32(WHAT, 60)? as u16 & !mode::TYPE,
            size: if kind == mode::SYMLINK { self.target.len() as u64 } else { size },
            union: if is_directory { first_child } else { device },
            count,
            uid: fields.u32(WHAT, 48)?,
            gid: fields.u32(WHAT, 52)?,
            mtime,
            links,
            layout: 0,
            is_implicit: is_directory && fields.u8(WHAT, INODE_RESERVED)? == IMPLICIT_DIRECTORY,
            xattrs: self.encoded_xattrs()?,
            behind: match kind {
                mode::SYMLINK => (self.start + INODE_BYTES + self.name.len() as u64).next_multiple_of(ALIGN),
                _ => self.chunks_at,
            },
        })
    }

    /// Extended attributes as RAFS v6 has them.
    fn encoded_xattrs(&self) -> Result<Cow<'b, [u8]>, FormatError> {
        let pairs = Pairs(self.xattrs).collect::<Result<Vec<_>, _>>()?;
        let encoded = attributes::encode(&pairs).map_err(|reason| FormatError::part(XATTRS, reason))?;
        Ok(Cow::Owned(encoded.into_vec()))
    }
}

fn kind(fields: Bytes<'_>) -> Result<u16, FormatError> {
    let kind = fields.u32(WHAT, 60)? as u16 & mode::TYPE;
    let known =
        [mode::FILE, mode::DIRECTORY, mode::SYMLINK, mode::CHAR_DEVICE, mode::BLOCK_DEVICE, mode::FIFO].contains(&kind);
    if known { Ok(kind) } else { Err(FormatError::part(WHAT, "it is of a type that images do not have")) }
}

/// Extended attributes, one behind the other: length, name, a zero, value.
struct Pairs<'b>(&'b [u8]);

impl Iterator for Pairs<'_> {
    type Item = Result<Xattr, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.0 = &[];
        }
        Some(pair)
    }
}

impl Pairs<'_> {
    fn pair(&mut self) -> Result<Xattr, FormatError> {
        let at = Bytes(self.0);
        let len = u64::from(at.u32(XATTRS, 0)?);
        let pair = at.slice(XATTRS, 4, len)?;
        let end = pair.iter().position(|byte| *byte == 0);
        let end = end.ok_or(FormatError::part(XATTRS, "a name does not end"))?;
        self.0 = &self.0[4 + pair.len()..];
        Ok((pair[..end].to_vec(), pair[end + 1..].to_vec()))
    }
}
