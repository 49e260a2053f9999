//! What a bootstrap begins with: superblock, places of the records, paths to fetch ahead, blobs.

use super::layout::{LINKS_BELOW, MAGIC, SUPERBLOCK_BYTES, VERSION};
use super::plan::Plan;
use crate::bootstrap::layout::{LINKS_MAGIC, flag};
use crate::bootstrap::{Blob, Extra, Image};

/// The superblock.
pub(super) fn bytes(image: &Image<'_>, plan: &Plan<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SUPERBLOCK_BYTES as usize);
    for word in [MAGIC, VERSION, SUPERBLOCK_BYTES as u32, image.chunk_bytes] {
        bytes.extend(word.to_le_bytes());
    }
    let longs =
        [flags(image, plan), plan.inodes, plan.number_table.offset, plan.prefetch_table.offset, plan.blob_table.offset];
    longs.iter().for_each(|long| bytes.extend(long.to_le_bytes()));
    let blobs = image.blobs.all().len();
    let words = [plan.records.len(), plan.prefetch.len(), plan.blob_table.bytes as usize, blobs];
    words.iter().for_each(|word| bytes.extend((*word as u32).to_le_bytes()));
    bytes.extend(plan.extended_blob_table.offset.to_le_bytes());
    if matches!(image.extra, Extra::Layer) {
        bytes.resize(LINKS_BELOW as usize, 0);
        for long in [u64::from(LINKS_MAGIC), plan.links_section.offset, plan.links_section.bytes] {
            bytes.extend(long.to_le_bytes());
        }
    }
    bytes.resize(SUPERBLOCK_BYTES as usize, 0);
    bytes
}

fn flags(image: &Image<'_>, plan: &Plan<'_>) -> u64 {
    let has_xattrs = if plan.has_xattrs { flag::HAS_XATTR } else { 0 };
    image.compressor.flag() | flag::SHA256 | flag::EXPLICIT_OWNER | has_xattrs
}

/// Where each record begins.
pub(super) fn numbers(plan: &Plan<'_>) -> Vec<u8> {
    plan.records.iter().flat_map(|record| record.place.to_le_bytes()).collect()
}

/// The inodes to fetch ahead.
pub(super) fn prefetch(plan: &Plan<'_>) -> Vec<u8> {
    plan.prefetch.iter().flat_map(|id| plan.shared(*id).number.to_le_bytes()).collect()
}

/// The names of blobs, each behind an empty range to fetch ahead, with a zero between two.
pub(super) fn blobs(image: &Image<'_>) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = image.blobs.all().iter().map(|blob| [&[0; 8][..], &blob.id].concat()).collect();
    entries.join(&0)
}

/// What else is said of each blob.
pub(super) fn extended_blobs(image: &Image<'_>) -> Vec<u8> {
    image.blobs.all().iter().flat_map(extended).collect()
}

fn extended(blob: &Blob) -> Vec<u8> {
    let mut entry = Vec::new();
    for word in [blob.chunks.len() as u32, blob.features] {
        entry.extend(word.to_le_bytes());
    }
    for long in [blob.uncompressed_bytes, blob.compressed_bytes] {
        entry.extend(long.to_le_bytes());
    }
    entry.resize(super::layout::EXTENDED_BLOB_BYTES as usize, 0);
    entry
}
