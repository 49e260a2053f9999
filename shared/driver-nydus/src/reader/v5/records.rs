//! All records of a bootstrap, by their numbers.

use accel_image::Hasher;

use super::chunks::Chunks;
use super::record::Record;
use crate::bootstrap::mode;
use crate::bootstrap::v5::{ALIGN, INODE_BYTES, ROOT};
use crate::layer::ChunkPlace;
use crate::reader::bytes::Bytes;
use crate::reader::{Blob, FormatError, Node};

const TABLE: &str = "table of inodes";
const WHAT: &str = "inode";

/// Records, each of which was looked at.
pub(in crate::reader) struct Records {
    table: u64,
    count: u32,
    chunk_bytes: u32,
    chunks: Chunks,
}

impl Records {
    /// Looks at the records of a table: where it begins, and how many it has.
    pub(super) fn parse(
        at: Bytes<'_>,
        (table, count): (u64, u32),
        chunk_bytes: u32,
        blobs: &[Blob],
    ) -> Result<Self, FormatError> {
        let mut records = Self { table, count, chunk_bytes, chunks: Chunks::default() };
        let mut end = 0;
        for (start, number) in records.in_their_order(at)? {
            if start < end {
                return Err(FormatError::part(WHAT, "it lies in another"));
            }
            let record = Record::at(at, start)?;
            records.check(at, number, &record)?;
            records.chunks.note(&record, blobs, chunk_bytes)?;
            end = record.end;
        }
        records.chunks.check(at)?;
        Ok(records)
    }

    /// Where each record begins and its number, in the order in which they lie.
    fn in_their_order(&self, at: Bytes<'_>) -> Result<impl Iterator<Item = (u64, u32)> + use<>, FormatError> {
        if u64::from(self.count) > at.len() / INODE_BYTES {
            return Err(FormatError::part(TABLE, "it has more entries than inodes have room"));
        }
        let (places, _) = at.slice(TABLE, self.table, u64::from(self.count) * 4)?.as_chunks();
        let mut order: Vec<(u32, u32)> =
            (1..).zip(places).map(|(number, at)| (u32::from_le_bytes(*at), number)).collect();
        order.sort_unstable();
        Ok(order.into_iter().map(|(place, number)| (u64::from(place) * ALIGN, number)))
    }

    /// What holds of the record of this number, whatever directory it is in.
    fn check(&self, at: Bytes<'_>, number: u32, record: &Record<'_>) -> Result<(), FormatError> {
        let node = record.node(self.chunk_bytes)?;
        if node.number == number {
            return Ok(());
        }
        let first = self.record(at, node.number)?;
        let is_link = node.kind != mode::DIRECTORY && node.links > 1;
        if !is_link || first.inode_number()? != u64::from(node.number) || !record.is_same_file(&first) {
            return Err(FormatError::part(WHAT, "it has the number of another"));
        }
        Ok(())
    }

    /// The record of this number.
    pub(super) fn record<'b>(&self, at: Bytes<'b>, number: u32) -> Result<Record<'b>, FormatError> {
        if number < ROOT || number > self.count {
            return Err(FormatError::part(TABLE, "it does not have an inode that is referred to"));
        }
        let place = at.u32(TABLE, self.table + u64::from(number - ROOT) * 4)?;
        Record::at(at, u64::from(place) * ALIGN)
    }

    /// The inode of the record of this number.
    pub(in crate::reader) fn node<'b>(&self, at: Bytes<'b>, number: u32) -> Result<Node<'b>, FormatError> {
        self.record(at, number)?.node(self.chunk_bytes)
    }

    /// Whether an inode has the digest that it says it has.
    pub(in crate::reader) fn check_digest(&self, at: Bytes<'_>, node: &Node<'_>) -> Result<(), FormatError> {
        let record = self.record(at, node.number)?;
        let mut hasher = Hasher::default();
        match node.kind {
            mode::DIRECTORY => {
                for child in 0..node.count {
                    hasher.update(self.record(at, node.union.saturating_add(child))?.digest()?);
                }
            }
            mode::SYMLINK => hasher.update(at.slice("symbolic link", node.behind, node.size)?),
            _ => Chunks::digests(&record).for_each(|digest| hasher.update(digest)),
        }
        if hasher.finish().as_bytes() != record.digest()? {
            return Err(FormatError::part(WHAT, "it has another digest than it says"));
        }
        Ok(())
    }

    /// All chunks of the one blob that a layer's bootstrap has.
    pub(in crate::reader) fn into_layer(self, bytes: &[u8]) -> Result<Vec<ChunkPlace>, FormatError> {
        self.chunks.into_layer(Bytes(bytes))
    }
}
