//! `blob.meta`: where each chunk lies, stored and uncompressed; and where there are batches, what each is. Spec: nydus
//! `storage/src/meta/chunk_info_v1.rs`, `chunk_info_v2.rs`, `batch.rs`, `mod.rs`.

use std::io::{self, Write};

use accel_image::Digest;

use super::batch::{InBatch, batches, has_batches, is_same_batch};
use crate::bootstrap::{BLOCK_BYTES, Blob, feature};

/// The length of the header.
pub(crate) const META_HEADER_BYTES: usize = 4096;
/// What the array holds for each chunk.
const CHUNK_META_BYTES: usize = 16;
/// The same where there are batches, and what then comes for each batch.
const CHUNK_META_V2_BYTES: usize = 24;
const BATCH_META_BYTES: usize = 40;
/// Flags of a chunk where there are batches.
const COMPRESSED: u64 = 1 << 56;
const IN_BATCH: u64 = 4 << 56;
const MAGIC: [u8; 4] = 0xb10b_b10b_u32.to_le_bytes();

/// A chunk and its places. 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    /// Of its uncompressed bytes.
    pub(crate) digest: Digest,
    /// Where it begins in the blob, or the batch that it is in.
    pub(crate) offset: u64,
    /// How long it is in the blob, or the batch that it is in; as long as uncompressed if it is stored as it is.
    pub(crate) stored_bytes: u32,
    /// How long it is uncompressed.
    pub(crate) bytes: u32,
    /// The 4 KiB block where it begins when all chunks are uncompressed.
    pub(crate) block: u32,
    /// Its place in a batch, if it is in one.
    pub(crate) batch: Option<InBatch>,
}

impl ChunkPlace {
    pub(crate) const fn is_compressed(&self) -> bool {
        match self.batch {
            Some(place) => place.is_compressed(),
            None => self.stored_bytes != self.bytes,
        }
    }

    fn entry(&self) -> [u8; CHUNK_META_BYTES] {
        let [first, second] = self.words();
        let mut bytes = [0; CHUNK_META_BYTES];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&second.to_le_bytes());
        bytes
    }

    /// Two words of 20 and 4 bits of length less one and an offset.
    fn words(&self) -> [u64; 2] {
        let (bytes, stored) = (u64::from(self.bytes) - 1, u64::from(self.stored_bytes) - 1);
        let uncompressed = u64::from(self.block) * BLOCK_BYTES;
        [
            (bytes & 0xf_ffff) << 44 | (bytes & 0xf0_0000) >> 12 | uncompressed,
            (stored & 0xf_ffff) << 44 | (stored & 0xf0_0000) << 20 | self.offset,
        ]
    }

    /// Three words where there are batches: 32 bits of block, 24 of length less one, and flags; 40 bits of offset and 24 of
    /// length, which is 0 in a batch; the number of the batch and the place in it.
    fn words_with_batches(&self, batch: u32) -> [u64; 3] {
        let length = |bytes: u64| bytes & 0xff_ffff;
        let uncompressed = u64::from(self.block) | length(u64::from(self.bytes) - 1) << 32;
        match self.batch {
            Some(place) => {
                let data = u64::from(batch) << 32 | u64::from(place.offset());
                [uncompressed | COMPRESSED | IN_BATCH, self.offset, data]
            }
            None => {
                let compressed = if self.is_compressed() { COMPRESSED } else { 0 };
                [uncompressed | compressed, self.offset | length(self.stored_bytes.into()) << 40, 0]
            }
        }
    }
}

/// Writes the array of all chunks, uncompressed, and what is said of batches.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_array(chunks: &[ChunkPlace], out: &mut dyn Write) -> io::Result<()> {
    if !has_batches(chunks) {
        return chunks.iter().flat_map(ChunkPlace::words).try_for_each(|word| out.write_all(&word.to_le_bytes()));
    }
    let mut batch = 0;
    for (at, chunk) in chunks.iter().enumerate() {
        for word in chunk.words_with_batches(batch) {
            out.write_all(&word.to_le_bytes())?;
        }
        let ends = chunks.get(at + 1).is_none_or(|next| !is_same_batch(chunk, next));
        batch += u32::from(chunk.batch.is_some() && ends);
    }
    for batch in batches(chunks) {
        out.write_all(&batch.stored_bytes.to_le_bytes())?;
        out.write_all(&batch.bytes.to_le_bytes())?;
        out.write_all(&[0; BATCH_META_BYTES - 8])?;
    }
    Ok(())
}

/// The length of the array and of what is said of batches.
pub(crate) fn array_bytes(chunks: &[ChunkPlace]) -> u64 {
    match batches(chunks).count() {
        0 => (chunks.len() * CHUNK_META_BYTES) as u64,
        batches => (chunks.len() * CHUNK_META_V2_BYTES + batches * BATCH_META_BYTES) as u64,
    }
}

/// The header behind the array, which is the same in the blob and in an image.
pub(crate) fn header(blob: &Blob) -> [u8; META_HEADER_BYTES] {
    let mut header = [0; META_HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    let (features, place) = (blob.features | feature::INLINED_BOOTSTRAP, &blob.meta);
    for (at, word) in [features, place.compressor, blob.chunks.len() as u32].into_iter().enumerate() {
        header[4 + 4 * at..][..4].copy_from_slice(&word.to_le_bytes());
    }
    for (at, long) in [place.offset, place.stored_bytes, place.bytes].into_iter().enumerate() {
        header[16 + 8 * at..][..8].copy_from_slice(&long.to_le_bytes());
    }
    let batches = batches(&blob.chunks).count();
    if batches > 0 {
        let (offset, bytes) = (blob.chunks.len() * CHUNK_META_V2_BYTES, batches * BATCH_META_BYTES);
        for (at, long) in [offset, bytes, batches].into_iter().enumerate() {
            header[40 + 8 * at..][..8].copy_from_slice(&(long as u64).to_le_bytes());
        }
    }
    header[META_HEADER_BYTES - 4..].copy_from_slice(&MAGIC);
    header
}

/// How long the file about so many chunks is, array and header as runtimes keep them.
pub(crate) const fn file_bytes(chunks: usize) -> usize {
    (chunks * CHUNK_META_BYTES).next_multiple_of(BLOCK_BYTES as usize) + META_HEADER_BYTES
}

/// Whether `file`, array and header as runtimes keep them, is about as many chunks as these, and says the same of those
/// that are known.
pub(crate) fn is_file_about(file: &[u8], chunks: &[ChunkPlace], is_known: impl Fn(&ChunkPlace) -> bool) -> bool {
    if file.len() != file_bytes(chunks.len()) {
        return false;
    }
    let (array, header) = file.split_at(file.len() - META_HEADER_BYTES);
    let entries = array.as_chunks::<CHUNK_META_BYTES>().0;
    let is_header = header.starts_with(&MAGIC) && header.ends_with(&MAGIC);
    let says = |(chunk, entry): (&ChunkPlace, &[u8; CHUNK_META_BYTES])| !is_known(chunk) || chunk.entry() == *entry;
    is_header && header[12..16] == (chunks.len() as u32).to_le_bytes() && chunks.iter().zip(entries).all(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_offsets_share_words() {
        let chunk = ChunkPlace {
            digest: Digest::of(b""),
            offset: 0x12_3456_789a,
            stored_bytes: 0x30_0001,
            bytes: 0x40_0000,
            block: 0xffff_ffff,
            batch: None,
        };
        assert_eq!(chunk.words(), [0xffff_ffff_ffff_f300 & !0xff | 0x300, 0x0000_0312_3456_789a]);
        let small = ChunkPlace { offset: 0, stored_bytes: 1, bytes: 2, block: 1, ..chunk };
        assert_eq!(small.words(), [1 << 44 | 4096, 0]);
    }
}
