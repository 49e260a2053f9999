//! How many chunks a bootstrap's blobs have, from its table of blobs alone: what is too large is refused before its table of
//! chunks is read, of which each entry takes memory.

use super::{ChunkDictionary, DictionaryFault};
use crate::bootstrap::{BLOB_BYTES, EXTENDED, MAGIC, SUPERBLOCK};

/// Where the table's offset and its length are.
const TABLE: (usize, usize) = (EXTENDED + 8, EXTENDED + 16);
/// Where the number of chunks is in an entry.
const COUNT: usize = 72;

impl ChunkDictionary {
    /// Refuses the bootstrap `bytes` if its blobs have more chunks than those of a dictionary may have. One that is not of
    /// RAFS v6, or is wrong, is left to the reader.
    ///
    /// # Errors
    /// [`DictionaryFault::TooManyChunks`].
    pub fn check_counts(bytes: &[u8]) -> Result<(), DictionaryFault> {
        let (entries, _) = table(bytes).unwrap_or_default().as_chunks::<BLOB_BYTES>();
        let chunks: u64 = entries.iter().filter_map(|entry| number(entry, COUNT)).map(u64::from).sum();
        if chunks > u64::from(Self::MOST_CHUNKS) { Err(DictionaryFault::TooManyChunks) } else { Ok(()) }
    }
}

/// The table of blobs.
fn table(bytes: &[u8]) -> Option<&[u8]> {
    number(bytes, SUPERBLOCK).filter(|magic| *magic == MAGIC)?;
    let offset = u64::from_le_bytes(*bytes.get(TABLE.0..)?.first_chunk()?);
    let len = number(bytes, TABLE.1)?;
    bytes.get(usize::try_from(offset).ok()?..)?.get(..len as usize)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}
