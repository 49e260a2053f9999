//! Writes a bootstrap by its plan, from front to back.

use std::io::{self, Write};

use super::blobs::ChunkRef;
use super::layout::{
    BLOCK_BYTES, CHUNK_COMPRESSED, CHUNK_IN_BATCH, CHUNK_INDEXES, EXTENDED_INODE, IMPLICIT_DIRECTORY, INODE_RESERVED,
    data_layout, mode,
};
use super::place::{Plan, head_bytes, split};
use super::{Extra, Image, directory, superblock};
use crate::compressor::Compressor;
use crate::tree::{Body, Inode, InodeId};

impl Plan {
    /// Writes the bootstrap of `image`, for which this plan was made: [`Plan::bytes`] bytes.
    ///
    /// # Errors
    /// Those of `out`, and [`io::ErrorKind::Other`] where the tree does not follow the plan.
    pub(crate) fn write(&self, image: &Image<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Positioned { out, at: 0 };
        out.write(&superblock::bytes(image, self))?;
        for id in &self.order {
            out.pad_to(self.offset(*id))?;
            out.write(&self.inode(image, *id))?;
        }
        for id in &self.with_blocks {
            let inode = image.tree.inode(*id);
            out.pad_to(self.blocks.offset + u64::from(self.place(*id).block) * BLOCK_BYTES)?;
            let data = self.data(image, *id, inode);
            let (_, _, tail) = split(head_bytes(inode), data.len() as u64);
            out.write(&data[..data.len() - tail as usize])?;
        }
        out.pad_to(self.links_section.offset)?;
        out.write(&self.links_below)?;
        out.pad_to(self.chunk_table.offset)?;
        for chunk in &self.chunks {
            out.write(&chunk_entry(image, *chunk, 0))?;
        }
        out.pad_to(self.bytes())
    }

    /// An inode with what follows it.
    fn inode(&self, image: &Image<'_>, id: InodeId) -> Vec<u8> {
        let inode = image.tree.inode(id);
        let data = self.data(image, id, inode);
        let head = head_bytes(inode);
        let (layout, size, union) = self.layout(image, id, inode, data.len() as u64);
        let attributes = &inode.attributes;
        let xattr_words = match attributes.xattrs.len() {
            0 => 0,
            bytes => (bytes - crate::attributes::XATTR_HEADER_BYTES) / 4 + 1,
        };

        let mut bytes = Vec::with_capacity(head as usize + 64);
        bytes.extend((EXTENDED_INODE | layout << 1).to_le_bytes());
        bytes.extend((xattr_words as u16).to_le_bytes());
        bytes.extend((attributes.mode | type_of(&inode.body)).to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(size.to_le_bytes());
        bytes.extend(union.to_le_bytes());
        bytes.extend(self.place(id).number.to_le_bytes());
        bytes.extend(attributes.uid.to_le_bytes());
        bytes.extend(attributes.gid.to_le_bytes());
        bytes.extend(attributes.mtime.seconds.to_le_bytes());
        bytes.extend(attributes.mtime.nanos.to_le_bytes());
        bytes.extend(self.place(id).links.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(&*attributes.xattrs);
        match &inode.body {
            Body::Directory(directory) if directory.implicit && matches!(image.extra, Extra::Layer) => {
                bytes[INODE_RESERVED] = IMPLICIT_DIRECTORY;
            }
            _ => {}
        }
        self.follow(image, inode, &data, &mut bytes);
        bytes
    }

    /// Data layout, size, and the word whose meaning depends on the type.
    fn layout(&self, image: &Image<'_>, id: InodeId, inode: &Inode, data: u64) -> (u16, u64, u32) {
        match inode.body {
            Body::File { size, .. } => (data_layout::CHUNKED, size, chunk_format(image, inode, size)),
            Body::Directory(_) | Body::Symlink(_) => {
                let first_block = self.blocks.offset / BLOCK_BYTES + u64::from(self.place(id).block);
                (split(head_bytes(inode), data).0, data, first_block as u32)
            }
            Body::CharDevice(device) | Body::BlockDevice(device) => (data_layout::PLAIN, 0, device),
            Body::Fifo | Body::LinkBelow(_) => (data_layout::PLAIN, 0, 0),
        }
    }

    /// What lies behind the inode and its attributes: chunks of a file, or the last part of the data.
    fn follow(&self, image: &Image<'_>, inode: &Inode, data: &[u8], bytes: &mut Vec<u8>) {
        if matches!(inode.body, Body::File { .. }) {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            for chunk in image.chunks_of(inode) {
                let (blob, number) = (chunk.blob() as u32, chunk.chunk());
                bytes.extend((number as u16).to_le_bytes());
                bytes.extend((((number >> 16) << 8 | (blob + 1)) as u16).to_le_bytes());
                bytes.extend(image.blobs.chunk(*chunk).block.to_le_bytes());
            }
        }
        let (_, _, tail) = split(head_bytes(inode), data.len() as u64);
        bytes.extend(&data[data.len() - tail as usize..]);
    }

    /// The data of a directory or symbolic link.
    fn data(&self, image: &Image<'_>, id: InodeId, inode: &Inode) -> Vec<u8> {
        match &inode.body {
            Body::Directory(directory) => directory::data(image.tree, self, id, directory),
            Body::Symlink(target) => target.to_vec(),
            _ => Vec::new(),
        }
    }
}

/// The size of a file's chunks, as a power of two. Where all of a file lies in one piece of a device it is one chunk to the
/// kernel, whose page cache then works in larger steps.
fn chunk_format(image: &Image<'_>, inode: &Inode, size: u64) -> u32 {
    let chunk_bytes = u64::from(image.chunk_bytes);
    let follows = |pair: &[ChunkRef]| {
        let blocks = [pair[0], pair[1]].map(|chunk| u64::from(image.blobs.chunk(chunk).block));
        pair[0].blob() == pair[1].blob() && blocks[0] + chunk_bytes / BLOCK_BYTES == blocks[1]
    };
    let in_one_piece = size > chunk_bytes && image.chunks_of(inode).windows(2).all(follows);
    let bytes = if in_one_piece { size.next_power_of_two() } else { chunk_bytes };
    CHUNK_INDEXES | (bytes.trailing_zeros() - BLOCK_BYTES.trailing_zeros())
}

/// What is said of a chunk; `file_offset` is where it begins in a file, 0 where that is not said.
pub(super) fn chunk_entry(image: &Image<'_>, chunk: ChunkRef, file_offset: u64) -> Vec<u8> {
    let place = image.blobs.chunk(chunk);
    let is_compressed = place.is_compressed() || image.compressor == Compressor::Gzip;
    let compressed = if is_compressed { CHUNK_COMPRESSED } else { 0 };
    let (in_batch, batch_place) = place.batch.map_or((0, 0), |batch| (CHUNK_IN_BATCH, batch.offset()));
    let mut entry = place.digest.as_bytes().to_vec();
    for word in [chunk.blob() as u32, compressed | in_batch, place.stored_bytes, place.bytes] {
        entry.extend(word.to_le_bytes());
    }
    for long in [place.offset, u64::from(place.block) * BLOCK_BYTES, file_offset] {
        entry.extend(long.to_le_bytes());
    }
    entry.extend(chunk.chunk().to_le_bytes());
    // Where others may have a checksum, which a flag says.
    entry.extend(batch_place.to_le_bytes());
    entry
}

pub(super) const fn type_of(body: &Body) -> u16 {
    match body {
        Body::Directory(_) => mode::DIRECTORY,
        Body::File { .. } | Body::LinkBelow(_) => mode::FILE,
        Body::Symlink(_) => mode::SYMLINK,
        Body::CharDevice(_) => mode::CHAR_DEVICE,
        Body::BlockDevice(_) => mode::BLOCK_DEVICE,
        Body::Fifo => mode::FIFO,
    }
}

/// What is written has another length than was planned.
pub(super) fn off_plan() -> io::Error {
    io::Error::other("the bootstrap does not follow its plan")
}

/// Counts what it passes on.
struct Positioned<'o> {
    out: &'o mut dyn Write,
    at: u64,
}

impl Positioned<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];
        if self.at > offset {
            return Err(off_plan());
        }
        while self.at < offset {
            let step = (offset - self.at).min(BLOCK_BYTES);
            self.write(&ZEROS[..step as usize])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_its_place_is_an_error() {
        let mut out = Vec::new();
        let mut positioned = Positioned { out: &mut out, at: 0 };
        assert!(positioned.write(b"12345").is_ok());
        assert!(positioned.pad_to(4).is_err());
        assert!(positioned.pad_to(5).is_ok() && positioned.pad_to(10_000).is_ok());
        assert_eq!((out.len(), &out[..6]), (10_000, &b"12345\0"[..]));
    }
}
