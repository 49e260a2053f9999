//! The front: walks the tar, builds the tree, cuts contents into chunks.

use std::io::Read;

use accel_driver::{Cut, DriverError, Source};
use accel_stream::{Entry, EntryKind, LayerReader, LayerSums, Limits, TarReader};

use crate::attributes::{Attributes, device};
use crate::bootstrap::MOST_CHUNKS;
use crate::names::WHITEOUT;
use crate::tree::{Body, Inode, InodeId, MOST_NAME_BYTES, TooLarge, Tree};

/// The longest target of a symbolic link: what Linux can make.
const MOST_TARGET_BYTES: usize = 4095;
/// The bytes of all contents: offsets in a blob have 40 bits.
const MOST_DATA_BYTES: u64 = 1 << 40;

/// The layer that is read.
pub(super) type Layer = LayerReader<Box<dyn Read + Send>>;
/// Its entries.
pub(super) type Entries = TarReader<Layer>;

/// What becomes of contents.
pub(super) trait Contents {
    /// Begins to read the layer.
    fn open(&self, blob: Box<dyn Read + Send>, limits: Limits) -> Result<Layer, DriverError>;

    /// Takes the next `bytes` of the entry's content as a chunk, to be stored after `cut` where it is stored.
    fn chunk(&mut self, entries: &mut Entries, bytes: usize, cut: Cut) -> Result<(), DriverError>;

    /// Reads what is left of the layer, and takes the tree.
    fn end(self, layer: Layer, tree: Box<Tree>) -> Result<LayerSums, DriverError>;
}

/// Turns entries into a tree and chunks.
pub(super) struct Front<C> {
    contents: C,
    tree: Tree,
    chunk_bytes: u64,
    /// Files smaller than half of this go into batches.
    batch_bytes: u64,
    /// How many chunks there are so far, repeated ones included.
    chunks: u32,
    data_bytes: u64,
}

impl<C: Contents> Front<C> {
    /// Cuts into chunks and batches of these lengths; there are no batches if that of batches is 0.
    pub(super) fn new(contents: C, (chunk, batch): (u32, u32), limits: Limits) -> Self {
        let (chunk_bytes, batch_bytes) = (u64::from(chunk), u64::from(batch));
        Self { contents, tree: Tree::of_layer(limits), chunk_bytes, batch_bytes, chunks: 0, data_bytes: 0 }
    }

    /// Reads the layer to its end, and hands over the tree last.
    pub(super) fn run(mut self, source: &mut dyn Source, limits: Limits) -> Result<LayerSums, DriverError> {
        let mut entries = TarReader::new(self.contents.open(source.open()?, limits)?, limits);
        while entries.next_entry()?.is_some() {
            self.entry(&mut entries)?;
        }
        self.contents.end(entries.into_inner(), Box::new(self.tree))
    }

    fn entry(&mut self, entries: &mut Entries) -> Result<(), DriverError> {
        let entry = entries.entry();
        if entry.kind == EntryKind::GlobalHeader {
            return Ok(()); // runtimes ignore it
        }
        let path = Path::of(entry, &entry.path)?;
        let Some((name, parents)) = path.split_last() else { return self.root(entry) };
        if name.starts_with(WHITEOUT) {
            return self.whiteout(entry, parents, name);
        }
        let id = match entry.kind {
            EntryKind::Directory => {
                let attributes = Attributes::of(entry)?;
                let parent = self.tree.make_directories(parents.iter().copied()).map_err(told(entry))?;
                self.tree.put_directory(parent, name, attributes).map_err(told(entry))?;
                return Ok(());
            }
            EntryKind::HardLink => self.link(entry)?,
            EntryKind::Regular => {
                let attributes = Attributes::of(entry)?;
                let body = Body::File { size: entry.size, first: self.chunks };
                self.reserve(entry)?;
                self.tree.add(Inode { attributes, body }).map_err(told(entry))?
            }
            _ => self.special(entry)?,
        };
        self.put(entry, parents, name, id)?;
        self.content(entries)
    }

    fn root(&mut self, entry: &Entry) -> Result<(), DriverError> {
        if entry.kind != EntryKind::Directory {
            return Err(DriverError::unrepresentable(&entry.path, "it would take the place of the root directory"));
        }
        self.tree.set_directory(Tree::ROOT, Attributes::of(entry)?).map_err(told(entry))
    }

    /// Its name makes a file a whiteout, whatever it is besides.
    fn whiteout(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8]) -> Result<(), DriverError> {
        let body = Body::File { size: 0, first: 0 };
        let marker = self.tree.add(Inode { attributes: Attributes::of(entry)?, body }).map_err(told(entry))?;
        self.put(entry, parents, name, marker)
    }

    fn put(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8], id: InodeId) -> Result<(), DriverError> {
        let parent = self.tree.make_directories(parents.iter().copied()).map_err(told(entry))?;
        self.tree.put(parent, name, id).map_err(told(entry))
    }

    /// A link to a file that the layer does not have is one to a file of a layer below; the merge finds it. No layer has
    /// whiteouts.
    fn link(&mut self, entry: &Entry) -> Result<InodeId, DriverError> {
        let target = Path::of(entry, &entry.link)?;
        let is_whiteout = target.last().is_some_and(|name| name.starts_with(WHITEOUT));
        let id = match self.tree.find(target.iter().copied()).filter(|_| !is_whiteout) {
            Some(id) => id,
            None => {
                let body = Body::LinkBelow(target.join(&b'/').into());
                self.tree.add(Inode { attributes: Attributes::implicit(), body }).map_err(told(entry))?
            }
        };
        match self.tree.inode(id).body {
            Body::Directory(_) => {
                return Err(DriverError::unrepresentable(&entry.path, "it is a hard link to a directory"));
            }
            // The bootstrap has the whole path of each.
            Body::LinkBelow(_) => self.tree.take_bytes(entry.path.len()).map_err(told(entry))?,
            _ => {}
        }
        Ok(id)
    }

    fn special(&mut self, entry: &Entry) -> Result<InodeId, DriverError> {
        let refused = |reason| Err(DriverError::unrepresentable(&entry.path, reason));
        let body = match entry.kind {
            EntryKind::Symlink if entry.link.is_empty() => return refused("it is a symbolic link to nothing"),
            EntryKind::Symlink if entry.link.len() > MOST_TARGET_BYTES => {
                return refused("it is a symbolic link to a path beyond 4,095 bytes");
            }
            EntryKind::Symlink => Body::Symlink(entry.link.as_slice().into()),
            EntryKind::CharDevice => Body::CharDevice(device(entry)?),
            EntryKind::BlockDevice => Body::BlockDevice(device(entry)?),
            EntryKind::Fifo => Body::Fifo,
            EntryKind::Sparse => return refused("it is a sparse file"),
            _ => return refused("it is of a type that file systems do not have"),
        };
        self.tree.add(Inode { attributes: Attributes::of(entry)?, body }).map_err(told(entry))
    }

    /// Counts a file before its content is read.
    fn reserve(&mut self, entry: &Entry) -> Result<(), DriverError> {
        self.data_bytes = self.data_bytes.saturating_add(entry.size);
        if self.data_bytes > MOST_DATA_BYTES {
            return Err(DriverError::unrepresentable(&entry.path, "the layer's files are beyond 1 TiB"));
        }
        let chunks = u64::from(self.chunks) + entry.size.div_ceil(self.chunk_bytes);
        if chunks > u64::from(MOST_CHUNKS) {
            return Err(DriverError::unrepresentable(
                &entry.path,
                "the layer has more than 16,777,216 chunks: a larger chunk_size makes fewer",
            ));
        }
        self.chunks = chunks as u32;
        Ok(())
    }

    fn content(&mut self, entries: &mut Entries) -> Result<(), DriverError> {
        let mut left = entries.payload_left();
        // At most a chunk is a batch, so this is a file of one chunk.
        let cut = if left < self.batch_bytes / 2 { Cut::Batch } else { Cut::NewMember };
        while left > 0 {
            let len = left.min(self.chunk_bytes);
            self.contents.chunk(entries, len as usize, cut)?;
            left -= len;
        }
        Ok(())
    }
}

/// The error for a tree that cannot take `entry`.
fn told(entry: &Entry) -> impl Fn(TooLarge) -> DriverError + '_ {
    |too_large| DriverError::unrepresentable(&entry.path, too_large.reason())
}

/// Reads payload of the current entry until `buffer` is full.
pub(super) fn read_payload(entries: &mut Entries, buffer: &mut [u8]) -> Result<(), DriverError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match entries.read_payload(&mut buffer[filled..])? {
            0 => return Err(DriverError::Changed), // the walker itself fails where a payload is cut off
            read => filled += read,
        }
    }
    Ok(())
}

/// A path's names, cleaned as runtimes do: absolute, without dots, never above the root.
struct Path;

impl Path {
    fn of<'p>(entry: &Entry, path: &'p [u8]) -> Result<Vec<&'p [u8]>, DriverError> {
        let mut names: Vec<&[u8]> = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name if name.len() > MOST_NAME_BYTES => {
                    return Err(DriverError::unrepresentable(&entry.path, "a name in its path is beyond 255 bytes"));
                }
                name => names.push(name),
            }
        }
        Ok(names)
    }
}
