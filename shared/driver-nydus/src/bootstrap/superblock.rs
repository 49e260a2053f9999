//! What a bootstrap begins with: superblocks, devices, blobs.

use super::blobs::Blob;
use super::layout::{
    BLOB_BYTES, BLOCK_BITS, BLOCK_BYTES, COMPAT_RAFS_V6, DEVICE_BYTES, DEVICE_SLOT, DEVICES, EXTENDED, INCOMPAT,
    LINKS_BELOW, LINKS_MAGIC, MAGIC, MOST_BLOBS, MOST_LAYER_BOOTSTRAP_BYTES, SUPERBLOCK, flag,
};
use super::place::{Fault, Plan};
use super::{Extra, Image};
use crate::tree::Tree;

/// Devices begin at multiples of this many blocks of the address space.
const DEVICE_ALIGN: u64 = 128;
/// The number of SHA-256 among digest algorithms.
const SHA256: u32 = 1;

/// Whether all numbers fit.
pub(super) fn check(image: &Image<'_>, plan: &Plan) -> Result<(), Fault> {
    if image.blobs.all().len() > MOST_BLOBS {
        return Err(Fault("it has more than 254 blobs: layers with files in them, and what the chunk dictionary has"));
    }
    if matches!(image.extra, Extra::Layer) && plan.bytes() > MOST_LAYER_BOOTSTRAP_BYTES {
        return Err(Fault("its metadata are beyond 4 GiB"));
    }
    let end = addresses(image, plan).last().map_or(plan.bytes() / BLOCK_BYTES, |(first, count)| first + count);
    if end > u64::from(u32::MAX) {
        return Err(Fault("its files are beyond 16 TiB"));
    }
    Ok(())
}

/// For each blob its first block in the address space and how many it has.
fn addresses(image: &Image<'_>, plan: &Plan) -> impl Iterator<Item = (u64, u64)> {
    let mut next = plan.bytes() / BLOCK_BYTES;
    image.blobs.all().iter().map(move |blob| {
        let (first, count) = (next.next_multiple_of(DEVICE_ALIGN), blob.uncompressed_bytes / BLOCK_BYTES);
        next = first + count;
        (first, count)
    })
}

/// Everything up to the first inode.
pub(super) fn bytes(image: &Image<'_>, plan: &Plan) -> Vec<u8> {
    let mut bytes = Fields(vec![0; plan.inodes.offset as usize]);
    superblock(&mut bytes, image, plan);
    extended(&mut bytes, image, plan);
    for (at, (blob, (first, count))) in image.blobs.all().iter().zip(addresses(image, plan)).enumerate() {
        let device = DEVICES + at * DEVICE_BYTES;
        bytes.put(device, &blob.id);
        bytes.put_u32(device + 64, count as u32);
        bytes.put_u32(device + 68, first as u32);
        self::blob(&mut bytes, plan.blob_table.offset as usize + at * BLOB_BYTES, at, blob, image.chunk_bytes);
    }
    for (at, id) in plan.prefetch.iter().enumerate() {
        bytes.put_u32(plan.prefetch_table.offset as usize + 4 * at, plan.place(*id).number);
    }
    bytes.0
}

fn superblock(bytes: &mut Fields, image: &Image<'_>, plan: &Plan) {
    let blocks: u64 = addresses(image, plan).map(|(_, count)| count).sum();
    bytes.put_u32(SUPERBLOCK, MAGIC);
    bytes.put_u32(SUPERBLOCK + 8, COMPAT_RAFS_V6);
    bytes.put(SUPERBLOCK + 12, &[BLOCK_BITS]);
    bytes.put_u16(SUPERBLOCK + 14, plan.place(Tree::ROOT).number as u16);
    bytes.put_u64(SUPERBLOCK + 16, plan.order.len() as u64);
    bytes.put_u32(SUPERBLOCK + 36, blocks as u32);
    bytes.put_u32(SUPERBLOCK + 40, (plan.inodes.offset / BLOCK_BYTES) as u32);
    bytes.put_u32(SUPERBLOCK + 80, INCOMPAT);
    bytes.put_u16(SUPERBLOCK + 86, image.blobs.all().len() as u16);
    bytes.put_u16(SUPERBLOCK + 88, DEVICE_SLOT);
}

fn extended(bytes: &mut Fields, image: &Image<'_>, plan: &Plan) {
    let has_xattrs = plan.order.iter().any(|id| !image.tree.inode(*id).attributes.xattrs.is_empty());
    let flags = image.compressor.flag()
        | flag::SHA256
        | flag::EXPLICIT_OWNER
        | flag::INLINED_CHUNK_DIGEST
        | flag::NOT_ENCRYPTED
        | if has_xattrs { flag::HAS_XATTR } else { 0 };
    bytes.put_u64(EXTENDED, flags);
    bytes.put_u64(EXTENDED + 8, plan.blob_table.offset);
    bytes.put_u32(EXTENDED + 16, plan.blob_table.bytes as u32);
    bytes.put_u32(EXTENDED + 20, image.chunk_bytes);
    bytes.put_u64(EXTENDED + 24, plan.chunk_table.offset);
    bytes.put_u64(EXTENDED + 32, plan.chunk_table.bytes);
    if plan.prefetch_table.bytes > 0 {
        bytes.put_u64(EXTENDED + 40, plan.prefetch_table.offset);
        bytes.put_u32(EXTENDED + 48, plan.prefetch_table.bytes as u32);
    }
    if plan.links_section.bytes > 0 {
        bytes.put_u32(LINKS_BELOW, LINKS_MAGIC);
        bytes.put_u64(LINKS_BELOW + 8, plan.links_section.offset);
        bytes.put_u64(LINKS_BELOW + 16, plan.links_section.bytes);
    }
}

fn blob(bytes: &mut Fields, entry: usize, number: usize, blob: &Blob, chunk_bytes: u32) {
    bytes.put(entry, &blob.id);
    let words = [number as u32, chunk_bytes, blob.chunks.len() as u32, blob.compressor.number(), SHA256, blob.features];
    for (at, word) in words.into_iter().enumerate() {
        bytes.put_u32(entry + 64 + 4 * at, word);
    }
    bytes.put_u64(entry + 88, blob.compressed_bytes);
    bytes.put_u64(entry + 96, blob.uncompressed_bytes);
    bytes.put_u32(entry + 108, blob.meta.compressor);
    bytes.put_u64(entry + 112, blob.meta.offset);
    bytes.put_u64(entry + 120, blob.meta.stored_bytes);
    bytes.put_u64(entry + 128, blob.meta.bytes);
    if let Some(index) = blob.index {
        bytes.put(entry + 168, index.digest.as_bytes());
        bytes.put_u64(entry + 200, index.bytes);
    }
}

/// Numbers at their places.
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put_u16(&mut self, at: usize, number: u16) {
        self.put(at, &number.to_le_bytes());
    }

    fn put_u32(&mut self, at: usize, number: u32) {
        self.put(at, &number.to_le_bytes());
    }

    fn put_u64(&mut self, at: usize, number: u64) {
        self.put(at, &number.to_le_bytes());
    }
}
