//! Writes a bootstrap by its plan, from front to back.

use std::io::{self, Write};

use super::layout::{ALIGN, DIGEST_BYTES, INODE_BYTES, INODE_RESERVED, inode_flag};
use super::plan::{Plan, Record};
use super::superblock;
use crate::attributes::{Attributes, pairs};
use crate::bootstrap::layout::IMPLICIT_DIRECTORY;
use crate::bootstrap::write::{chunk_entry, off_plan, type_of};
use crate::bootstrap::{Extra, Image};
use crate::hashed::Hashed;
use crate::tree::{Body, Inode};

/// What the blocks of a file are counted in.
const BLOCK_BYTES: u64 = 512;
/// A directory's length is that of its names and so much for each, in pages.
const ENTRY_BYTES: u64 = 8;
const PAGE_BYTES: u64 = 4096;

impl Plan<'_> {
    /// Writes the bootstrap of `image`, for which this plan was made: [`Plan::bytes`] bytes.
    ///
    /// # Errors
    /// Those of `out`, and [`io::ErrorKind::Other`] where the tree does not follow the plan.
    pub(crate) fn write(&self, image: &Image<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Aligned(Hashed::new(out));
        out.write(&superblock::bytes(image, self))?;
        out.write(&superblock::numbers(self))?;
        out.write(&superblock::prefetch(self))?;
        out.write(&superblock::blobs(image))?;
        out.write(&superblock::extended_blobs(image))?;
        for at in 0..self.records.len() {
            out.write(&self.record(image, at))?;
        }
        match image.extra {
            Extra::Layer => {
                out.write(&self.links_below)?;
                let Hashed { inner, hasher } = out.up_to(self.bytes() - DIGEST_BYTES)?;
                inner.write_all(hasher.finish().as_bytes())
            }
            Extra::Image { .. } => out.up_to(self.bytes()).map(|_| ()),
        }
    }

    /// Whole, in one write: the gzip of an image's bootstrap depends on the parts in which that is written.
    fn record(&self, image: &Image<'_>, at: usize) -> Vec<u8> {
        let record = &self.records[at];
        let inode = image.tree.inode(record.id);
        let mut bytes = self.inode(image, at, record, inode);
        append(&mut bytes, record.name);
        if let Body::Symlink(target) = &inode.body {
            append(&mut bytes, target);
        }
        append(&mut bytes, &xattrs(&inode.attributes));
        for (number, chunk) in image.chunks_of(inode).iter().enumerate() {
            bytes.extend(chunk_entry(image, *chunk, number as u64 * u64::from(image.chunk_bytes)));
        }
        bytes
    }

    fn inode(&self, image: &Image<'_>, at: usize, record: &Record<'_>, inode: &Inode) -> Vec<u8> {
        let (shared, attributes) = (self.shared(record.id), &inode.attributes);
        let (first_child, count, target, device) = match &inode.body {
            Body::Directory(_) => (record.first_child, record.children, 0, 0),
            Body::Symlink(target) => (0, 0, target.len(), 0),
            Body::CharDevice(device) | Body::BlockDevice(device) => (0, 0, 0, *device),
            _ => (0, image.chunks_of(inode).len() as u32, 0, 0),
        };
        let size = self.size(record, inode);

        let mut bytes = Vec::with_capacity(INODE_BYTES as usize + 256);
        bytes.extend(self.digests[at].as_bytes());
        for long in [u64::from(record.parent), shared.number.into()] {
            bytes.extend(long.to_le_bytes());
        }
        let type_and_mode = u32::from(attributes.mode | type_of(&inode.body));
        for word in [attributes.uid, attributes.gid, 0, type_and_mode] {
            bytes.extend(word.to_le_bytes());
        }
        for long in [size, size.div_ceil(BLOCK_BYTES), flags(inode, shared.links)] {
            bytes.extend(long.to_le_bytes());
        }
        for word in [shared.links, first_child, count] {
            bytes.extend(word.to_le_bytes());
        }
        for half in [record.name.len(), target] {
            bytes.extend((half as u16).to_le_bytes());
        }
        for word in [device, attributes.mtime.nanos] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(attributes.mtime.seconds.to_le_bytes());
        bytes.extend([0; 8]);
        match &inode.body {
            Body::Directory(directory) if directory.implicit && matches!(image.extra, Extra::Layer) => {
                bytes[INODE_RESERVED as usize] = IMPLICIT_DIRECTORY;
            }
            _ => {}
        }
        bytes
    }

    fn size(&self, record: &Record<'_>, inode: &Inode) -> u64 {
        match &inode.body {
            Body::File { size, .. } => *size,
            Body::Symlink(target) => target.len() as u64,
            Body::Directory(_) if record.children == 0 => PAGE_BYTES,
            Body::Directory(_) => {
                let children = &self.records[record.first_child as usize - 1..][..record.children as usize];
                let names: u64 = children.iter().map(|child| child.name.len() as u64 + ENTRY_BYTES).sum();
                names.next_multiple_of(PAGE_BYTES)
            }
            _ => 0,
        }
    }
}

fn flags(inode: &Inode, links: u32) -> u64 {
    let is_directory = matches!(inode.body, Body::Directory(_));
    let flags = [
        (matches!(inode.body, Body::Symlink(_)), inode_flag::SYMLINK),
        (!is_directory && links > 1, inode_flag::HARDLINK),
        (!inode.attributes.xattrs.is_empty(), inode_flag::XATTR),
    ];
    flags.iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum()
}

/// How long extended attributes are without the length that is before them.
pub(super) fn xattr_bytes(attributes: &Attributes) -> u64 {
    pairs(&attributes.xattrs).map(|(name, value)| 4 + (name[0].len() + name[1].len() + 1 + value.len()) as u64).sum()
}

/// Extended attributes: how long all are, then each with its length, its name and a zero; nothing if there are none.
fn xattrs(attributes: &Attributes) -> Vec<u8> {
    let len = xattr_bytes(attributes);
    let mut bytes = Vec::new();
    if len > 0 {
        bytes.extend(len.to_le_bytes());
    }
    for ([space, name], value) in pairs(&attributes.xattrs) {
        let pair = space.len() + name.len() + 1 + value.len();
        bytes.extend((pair as u32).to_le_bytes());
        bytes.extend([space, name, b"\0", value].concat());
    }
    bytes
}

/// Appends `part`, padded.
fn append(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend(part);
    bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
}

/// Hashes and counts what it passes on, and pads each part.
struct Aligned<'o>(Hashed<&'o mut dyn Write>);

impl<'o> Aligned<'o> {
    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        let pad = part.len().next_multiple_of(ALIGN as usize) - part.len();
        self.0.write_all(part)?;
        self.0.write_all(&[0; ALIGN as usize][..pad])
    }

    /// What was written, if it is `bytes` bytes.
    fn up_to(self, bytes: u64) -> io::Result<Hashed<&'o mut dyn Write>> {
        if self.0.hasher.bytes() == bytes { Ok(self.0) } else { Err(off_plan()) }
    }
}

#[cfg(test)]
mod tests {
    use accel_stream::Limits;

    use super::*;
    use crate::bootstrap::BlobTable;
    use crate::compressor::Compressor;
    use crate::tree::Tree;
    use crate::version::Version;

    fn with_link(target: &[u8]) -> Tree {
        let mut tree = Tree::of_layer(Limits::default());
        let link = tree.add(Inode { attributes: Attributes::implicit(), body: Body::Symlink(target.into()) }).unwrap();
        tree.put(Tree::ROOT, b"link", link).unwrap();
        tree
    }

    #[test]
    fn what_does_not_follow_its_plan_is_an_error() {
        let trees = [&b"123456789"[..], b"12345678", b"12345678901234567"].map(with_link);
        for extra in [Extra::Layer, Extra::Image { prefetch: &[] }] {
            let [planned, shorter, longer] = trees.each_ref().map(|tree| Image {
                tree,
                refs: &[],
                blobs: BlobTable::default(),
                chunk_bytes: 4096,
                compressor: Compressor::None,
                version: Version::V5,
                extra,
            });
            let plan = Plan::new(&planned).unwrap();
            let write = |image: &Image<'_>| {
                let mut out = Vec::new();
                plan.write(image, &mut out).map(|()| out.len() as u64)
            };
            assert_eq!(write(&planned).unwrap(), plan.bytes());
            for image in [shorter, longer] {
                assert!(write(&image).unwrap_err().to_string().contains("does not follow its plan"));
            }
        }
    }
}
