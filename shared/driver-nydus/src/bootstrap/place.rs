//! The plan: a place for every inode, and from it the places of everything else.

use accel_driver::DriverError;

use super::blobs::ChunkRef;
use super::layout::{
    BLOB_BYTES, BLOCK_BYTES, CHUNK_BYTES, DEVICE_BYTES, DEVICES, INODE_BYTES, SLOT_BYTES, data_layout,
};
use super::{Image, blobs, directory, links, prefetch, superblock};
use crate::tree::{Body, Inode, InodeId, Tree};

/// The number of the first inode, the root: 0 cannot be shown, and the superblock has 16 bits for it.
const FIRST_NUMBER: u64 = 2;
/// Ends of blocks that stayed free and may take a smaller inode.
const MOST_GAPS: usize = 64;

/// Why a tree does not fit into a bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(pub(super) &'static str);

impl Fault {
    pub(crate) fn of_layer(self) -> DriverError {
        DriverError::unrepresentable(b"/", self.0)
    }

    pub(crate) const fn reason(self) -> &'static str {
        self.0
    }
}

/// Where an inode lies. 16 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// Its number; 0 if it cannot be reached.
    pub(super) number: u32,
    /// Its first block of data, counted from the first of all.
    pub(super) block: u32,
    /// How many names it has.
    pub(super) links: u32,
    /// The directory that it is in.
    parent: u32,
}

/// A section of the bootstrap.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Where everything goes.
pub(crate) struct Plan {
    places: Vec<Place>,
    /// Reachable inodes by number.
    pub(super) order: Vec<InodeId>,
    /// Those with data in blocks, by block.
    pub(super) with_blocks: Vec<InodeId>,
    /// Chunks of the table, sorted by digest.
    pub(super) chunks: Vec<ChunkRef>,
    pub(super) prefetch: Vec<InodeId>,
    pub(super) links_below: Vec<u8>,
    pub(super) blob_table: Section,
    pub(super) prefetch_table: Section,
    pub(super) inodes: Section,
    pub(super) blocks: Section,
    pub(super) links_section: Section,
    pub(super) chunk_table: Section,
    bytes: u64,
}

impl Plan {
    /// Places everything.
    ///
    /// # Errors
    /// [`Fault`] where numbers of the format are too small.
    pub(crate) fn new(image: &Image<'_>) -> Result<Self, Fault> {
        let blobs = image.blobs.all().len();
        let prefetch = prefetch::find(image);
        let after = |section: Section, bytes: usize, align: u64| Section {
            offset: (section.offset + section.bytes).next_multiple_of(align),
            bytes: bytes as u64,
        };
        let devices = Section { offset: DEVICES as u64, bytes: (blobs * DEVICE_BYTES) as u64 };
        let blob_table = after(devices, blobs * BLOB_BYTES, BLOCK_BYTES);
        let prefetch_table = after(blob_table, prefetch.len() * 4, 4);

        let mut placing = Placing::new(image);
        placing.run()?;
        let Placing { places, mut order, with_blocks, blocks, end, .. } = placing;
        order.sort_unstable_by_key(|id| places[id.0 as usize].number);
        let chunks = chunk_table(image, &order);
        let links_below = links::encode(image.tree);

        let inodes = after(prefetch_table, end as usize, BLOCK_BYTES);
        let blocks = after(inodes, (u64::from(blocks) * BLOCK_BYTES) as usize, BLOCK_BYTES);
        let links_section = after(blocks, links_below.len(), BLOCK_BYTES);
        let chunk_table = after(links_section, chunks.len() * CHUNK_BYTES, BLOCK_BYTES);
        let bytes = after(chunk_table, 0, BLOCK_BYTES).offset;
        let plan = Self {
            places,
            order,
            with_blocks,
            chunks,
            prefetch,
            links_below,
            blob_table,
            prefetch_table,
            inodes,
            blocks,
            links_section,
            chunk_table,
            bytes,
        };
        superblock::check(image, &plan)?;
        Ok(plan)
    }

    /// The length of the bootstrap.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn place(&self, id: InodeId) -> Place {
        self.places[id.0 as usize]
    }

    pub(super) fn parent(&self, id: InodeId) -> InodeId {
        InodeId(self.place(id).parent)
    }

    /// Where an inode begins.
    pub(super) fn offset(&self, id: InodeId) -> u64 {
        self.inodes.offset + u64::from(self.place(id).number) * SLOT_BYTES
    }
}

/// Chunks that the table lists: of a layer's own blob all, for they are the blob's; of others those that files refer to.
fn chunk_table(image: &Image<'_>, order: &[InodeId]) -> Vec<ChunkRef> {
    let own = image.blobs.all().first().filter(|blob| blob.is_own());
    let is_of_other = |chunk: &ChunkRef| own.is_none() || chunk.blob() != 0;
    let own = 0..own.map_or(0, |own| own.chunks.len() as u32);
    let of_files = order.iter().flat_map(|id| image.chunks_of(image.tree.inode(*id))).copied();
    let mut chunks: Vec<ChunkRef> =
        own.map(|chunk| ChunkRef::new(0, chunk)).chain(of_files.filter(is_of_other)).collect();
    chunks.sort_unstable();
    chunks.dedup();
    chunks.sort_by_key(|chunk| (image.blobs.chunk(*chunk).digest, chunk.blob()));
    chunks
}

impl Image<'_> {
    /// The chunks of a file; none of anything else.
    pub(super) fn chunks_of(&self, inode: &Inode) -> &[ChunkRef] {
        blobs::chunks_of(inode, self.refs, self.chunk_bytes)
    }
}

/// How the data of a directory or symbolic link lie behind `head` bytes of inode and attributes: the layout, how many
/// blocks, and how many bytes behind the inode.
pub(super) const fn split(head: u64, data: u64) -> (u16, u64, u64) {
    let tail = data % BLOCK_BYTES;
    if tail != 0 && head + tail <= BLOCK_BYTES {
        (data_layout::INLINE, data / BLOCK_BYTES, tail)
    } else {
        (data_layout::PLAIN, data.div_ceil(BLOCK_BYTES), 0)
    }
}

/// The length of an inode with its attributes.
pub(super) const fn head_bytes(inode: &Inode) -> u64 {
    INODE_BYTES + inode.attributes.xattrs.len() as u64
}

/// Gives places while it walks the tree.
struct Placing<'i> {
    image: &'i Image<'i>,
    places: Vec<Place>,
    order: Vec<InodeId>,
    with_blocks: Vec<InodeId>,
    blocks: u32,
    /// Where the next inode goes, counted from the first slot.
    end: u64,
    /// Free parts of blocks: where they begin and how long they are.
    gaps: Vec<(u64, u64)>,
}

impl<'i> Placing<'i> {
    fn new(image: &'i Image<'i>) -> Self {
        Self {
            image,
            places: vec![Place::default(); image.tree.inodes()],
            order: Vec::new(),
            with_blocks: Vec::new(),
            blocks: 0,
            end: FIRST_NUMBER * SLOT_BYTES,
            gaps: Vec::new(),
        }
    }

    /// Every directory before what is in it.
    fn run(&mut self) -> Result<(), Fault> {
        let tree = self.image.tree;
        let mut open = vec![(Tree::ROOT, Tree::ROOT)];
        while let Some((id, parent)) = open.pop() {
            let inode = tree.inode(id);
            let place = &mut self.places[id.0 as usize];
            place.links += 1;
            if place.number == 0 {
                place.parent = parent.0;
                self.place(id, inode)?;
            }
            if let Body::Directory(directory) = &inode.body {
                let listed = directory.children().filter(|(_, child)| directory::is_listed(tree, *child));
                open.extend(listed.rev().map(|(_, child)| (child, id)));
                let directories = directory.children().filter(|(_, child)| tree.directory(*child).is_some()).count();
                self.places[id.0 as usize].links = 2 + directories as u32;
            }
        }
        Ok(())
    }

    fn place(&mut self, id: InodeId, inode: &Inode) -> Result<(), Fault> {
        let head = head_bytes(inode);
        let (bytes, blocks, inline) = match &inode.body {
            Body::File { .. } => {
                let indexes = 8 * self.image.chunks_of(inode).len() as u64;
                (head.next_multiple_of(8) + indexes, 0, false)
            }
            Body::Directory(directory) => self.with_data(head, directory::bytes(self.image.tree, directory)),
            Body::Symlink(target) => self.with_data(head, target.len() as u64),
            _ => (head, 0, false),
        };
        let offset = self.take_gap(bytes).unwrap_or_else(|| self.append(bytes, inline));
        let number =
            u32::try_from(offset / SLOT_BYTES).map_err(|_| Fault("it has too many files for one bootstrap"))?;
        let place = &mut self.places[id.0 as usize];
        (place.number, place.block) = (number, self.blocks);
        self.order.push(id);
        if blocks > 0 {
            self.with_blocks.push(id);
            let all = u64::from(self.blocks) + blocks;
            self.blocks = u32::try_from(all).map_err(|_| Fault("its directories are too large for one bootstrap"))?;
        }
        Ok(())
    }

    const fn with_data(&self, head: u64, data: u64) -> (u64, u64, bool) {
        let (layout, blocks, tail) = split(head, data);
        (head + tail, blocks, layout == data_layout::INLINE)
    }

    /// The first gap that is large enough.
    fn take_gap(&mut self, bytes: u64) -> Option<u64> {
        let at = self.gaps.iter().position(|(_, free)| *free >= bytes)?;
        let (offset, free) = self.gaps[at];
        let used = bytes.next_multiple_of(SLOT_BYTES);
        if free >= used + INODE_BYTES {
            self.gaps[at] = (offset + used, free - used);
        } else {
            self.gaps.swap_remove(at);
        }
        Some(offset)
    }

    /// At the end; data behind an inode may not cross a block.
    fn append(&mut self, bytes: u64, inline: bool) -> u64 {
        if inline && self.end % BLOCK_BYTES + bytes > BLOCK_BYTES {
            let next = self.end.next_multiple_of(BLOCK_BYTES);
            if next - self.end >= INODE_BYTES && self.gaps.len() < MOST_GAPS {
                self.gaps.push((self.end, next - self.end));
            }
            self.end = next;
        }
        let offset = self.end;
        self.end = (offset + bytes).next_multiple_of(SLOT_BYTES);
        offset
    }
}
