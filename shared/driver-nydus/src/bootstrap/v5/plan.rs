//! The plan: a number and a place for every name.

use accel_image::Digest;

use super::layout::{
    ALIGN, BLOB_HEAD_BYTES, DIGEST_BYTES, EXTENDED_BLOB_BYTES, INODE_BYTES, MOST_BYTES, ROOT_NAME, SUPERBLOCK_BYTES,
    XATTR_HEAD_BYTES,
};
use super::{digest, write};
use crate::bootstrap::place::{Fault, Section};
use crate::bootstrap::{CHUNK_BYTES, Extra, ID_BYTES, Image, directory, links, prefetch};
use crate::tree::{Body, Directory, Inode, InodeId, Tree};

/// A name, and where its record lies. 40 bytes.
pub(super) struct Record<'i> {
    pub(super) name: &'i [u8],
    pub(super) id: InodeId,
    /// The number of the directory that it is in; 0 for the root.
    pub(super) parent: u32,
    /// The number of a directory's first child, and how many it has.
    pub(super) first_child: u32,
    pub(super) children: u32,
    /// Where it begins, counted in eights.
    pub(super) place: u32,
}

/// What all names of an inode have together.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    /// The number of the last of its names, so that no name is in a directory with a larger one: readers refuse that of
    /// everything but files.
    pub(super) number: u32,
    pub(super) links: u32,
}

/// Where everything goes.
pub(crate) struct Plan<'i> {
    /// By their numbers, from 1.
    pub(super) records: Vec<Record<'i>>,
    shared: Vec<Shared>,
    /// One for each record.
    pub(super) digests: Vec<Digest>,
    pub(super) prefetch: Vec<InodeId>,
    pub(super) links_below: Vec<u8>,
    /// How many inodes there are: a file with several names is one.
    pub(super) inodes: u64,
    pub(super) has_xattrs: bool,
    pub(super) number_table: Section,
    pub(super) prefetch_table: Section,
    pub(super) blob_table: Section,
    pub(super) extended_blob_table: Section,
    /// Of a layer alone; where the records end.
    pub(super) links_section: Section,
    bytes: u64,
}

impl<'i> Plan<'i> {
    /// Places everything.
    ///
    /// # Errors
    /// [`Fault`] where numbers of the format are too small.
    pub(crate) fn new(image: &Image<'i>) -> Result<Self, Fault> {
        let blobs = image.blobs.all().len() as u64;
        let prefetch = prefetch::find(image);
        let Numbering { mut records, shared, inodes, has_xattrs, .. } = Numbering::of(image.tree)?;

        let number_table = Section { offset: SUPERBLOCK_BYTES, bytes: records.len() as u64 * 4 };
        let prefetch_table = after(number_table, prefetch.len() as u64 * 4);
        // Between two names is a zero.
        let names = blobs * (BLOB_HEAD_BYTES + ID_BYTES as u64 + 1);
        let blob_table = after(prefetch_table, names.saturating_sub(1).next_multiple_of(ALIGN));
        let extended_blob_table = after(blob_table, blobs * EXTENDED_BLOB_BYTES);
        let mut end = after(extended_blob_table, 0).offset;
        for record in &mut records {
            record.place = u32::try_from(end / ALIGN).map_err(|_| TOO_LARGE)?;
            end += record_bytes(image, record.name, image.tree.inode(record.id));
            if end > MOST_BYTES {
                return Err(TOO_LARGE);
            }
        }
        let links_below = links::encode(image.tree);
        let links_section = Section { offset: end, bytes: links_below.len() as u64 };
        let bytes = match image.extra {
            Extra::Layer => after(links_section, 0).offset + DIGEST_BYTES,
            Extra::Image { .. } => end,
        };
        if bytes > MOST_BYTES {
            return Err(TOO_LARGE);
        }
        Ok(Self {
            digests: digest::of_records(image, &records),
            inodes,
            has_xattrs,
            records,
            shared,
            prefetch,
            links_below,
            number_table,
            prefetch_table,
            blob_table,
            extended_blob_table,
            links_section,
            bytes,
        })
    }

    /// The length of the bootstrap.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn shared(&self, id: InodeId) -> Shared {
        self.shared[id.0 as usize]
    }
}

const TOO_LARGE: Fault = Fault("its metadata are beyond 1 GiB of RAFS v5");

/// The section behind another.
fn after(section: Section, bytes: u64) -> Section {
    Section { offset: (section.offset + section.bytes).next_multiple_of(ALIGN), bytes }
}

/// The length of a record.
fn record_bytes(image: &Image<'_>, name: &[u8], inode: &Inode) -> u64 {
    let aligned = |bytes: usize| (bytes as u64).next_multiple_of(ALIGN);
    let behind = match &inode.body {
        Body::Symlink(target) => aligned(target.len()),
        _ => (image.chunks_of(inode).len() * CHUNK_BYTES) as u64,
    };
    let xattrs = match write::xattr_bytes(&inode.attributes) {
        0 => 0,
        bytes => XATTR_HEAD_BYTES + bytes.next_multiple_of(ALIGN),
    };
    INODE_BYTES + aligned(name.len()) + xattrs + behind
}

/// Gives numbers while it walks the tree.
struct Numbering<'i> {
    tree: &'i Tree,
    records: Vec<Record<'i>>,
    shared: Vec<Shared>,
    inodes: u64,
    has_xattrs: bool,
}

impl<'i> Numbering<'i> {
    fn of(tree: &'i Tree) -> Result<Self, Fault> {
        let shared = vec![Shared::default(); tree.inodes()];
        let mut numbering = Self { tree, records: Vec::new(), shared, inodes: 0, has_xattrs: false };
        let mut open = vec![numbering.add(ROOT_NAME, Tree::ROOT, 0)?];
        while let Some(number) = open.pop() {
            let first = numbering.records.len();
            numbering.children(number)?;
            let is_directory = |at: &usize| tree.directory(numbering.records[*at].id).is_some();
            open.extend((first..numbering.records.len()).rev().filter(is_directory).map(|at| at as u32 + 1));
        }
        Ok(numbering)
    }

    /// Numbers what the directory of this number holds.
    fn children(&mut self, parent: u32) -> Result<(), Fault> {
        let tree = self.tree;
        let (at, first) = (parent as usize - 1, self.records.len());
        let id = self.records[at].id;
        let mut directories = 0;
        for (name, child) in tree.directory(id).into_iter().flat_map(Directory::children) {
            if directory::is_listed(tree, child) {
                self.add(name, child, parent)?;
                directories += u32::from(tree.directory(child).is_some());
            }
        }
        self.records[at].first_child = first as u32 + 1;
        self.records[at].children = (self.records.len() - first) as u32;
        self.shared[id.0 as usize].links = 2 + directories;
        Ok(())
    }

    fn add(&mut self, name: &'i [u8], id: InodeId, parent: u32) -> Result<u32, Fault> {
        let number = u32::try_from(self.records.len() + 1).map_err(|_| TOO_LARGE)?;
        let shared = &mut self.shared[id.0 as usize];
        if shared.links == 0 {
            self.inodes += 1;
            self.has_xattrs |= !self.tree.inode(id).attributes.xattrs.is_empty();
        }
        (shared.number, shared.links) = (number, shared.links + 1);
        self.records.push(Record { name, id, parent, first_child: 0, children: 0, place: 0 });
        Ok(number)
    }
}
