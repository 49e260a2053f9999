//! Batches: small chunks that are stored as one piece, compressed together. Spec: nydus `storage/src/meta/batch.rs`.

use std::num::NonZeroU32;

use super::ChunkPlace;

/// The place of a chunk in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InBatch(NonZeroU32);

impl InBatch {
    /// What places in batches are smaller than: 16 MiB.
    pub(crate) const MOST: u32 = 1 << 24;

    /// `offset` is smaller than 16 MiB.
    #[must_use]
    pub const fn new(offset: u32, is_compressed: bool) -> Self {
        Self(NonZeroU32::MIN.saturating_add(offset << 1 | is_compressed as u32))
    }

    const fn bits(self) -> u32 {
        self.0.get() - 1
    }

    /// Where the chunk begins in the uncompressed batch.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.bits() >> 1
    }

    /// Whether the batch is compressed; if not, it is stored as it is.
    #[must_use]
    pub const fn is_compressed(self) -> bool {
        self.bits() & 1 == 1
    }
}

/// A batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// How long it is in the blob.
    pub(super) stored_bytes: u32,
    /// How long it is uncompressed.
    pub(super) bytes: u32,
}

/// Whether there are batches among the chunks of a blob.
pub(crate) fn has_batches(chunks: &[ChunkPlace]) -> bool {
    chunks.iter().any(|chunk| chunk.batch.is_some())
}

/// The batches of a blob, which has these `chunks`.
pub(super) fn batches(chunks: &[ChunkPlace]) -> impl Iterator<Item = Batch> {
    parts(chunks).filter_map(|part| {
        let (last, place) = part.last().and_then(|last| Some((last, last.batch?)))?;
        Some(Batch { stored_bytes: last.stored_bytes, bytes: place.offset().saturating_add(last.bytes) })
    })
}

/// Chunks of one batch, or one chunk that is in none.
fn parts(chunks: &[ChunkPlace]) -> impl Iterator<Item = &[ChunkPlace]> {
    chunks.chunk_by(is_same_batch)
}

/// Whether `next`, which is the chunk after `one`, is in its batch.
pub(super) fn is_same_batch(one: &ChunkPlace, next: &ChunkPlace) -> bool {
    one.batch.is_some() && next.batch.is_some() && one.offset == next.offset
}

/// What is wrong with the batches of a blob, which has these `chunks`, if anything: chunks of a batch follow each other
/// without a gap, say the same of it, and it has at most `most` bytes. That is what makes [`batches`] right.
pub(crate) fn check(chunks: &[ChunkPlace], most: u64) -> Result<(), &'static str> {
    for part in parts(chunks) {
        let Some(first) = part.first().and_then(|first| first.batch) else { continue };
        let mut end = 0;
        for chunk in part {
            let place = chunk.batch.map(|place| (u64::from(place.offset()), place.is_compressed()));
            if place != Some((end, first.is_compressed())) {
                return Err("the chunks of a batch do not follow each other");
            }
            end += u64::from(chunk.bytes);
        }
        let stored = part.iter().map(|chunk| u64::from(chunk.stored_bytes));
        let is_as_long = |stored| if first.is_compressed() { stored < end } else { stored == end };
        if end > most || !stored.clone().all(is_as_long) || stored.clone().min() != stored.max() {
            return Err("a batch has an impossible length");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use accel_image::Digest;

    use super::*;

    /// Offset of what is stored, its length, the chunk's length, and its place in the batch.
    fn chunk((offset, stored_bytes, bytes, place): (u64, u32, u32, Option<u32>)) -> ChunkPlace {
        let batch = place.map(|place| InBatch::new(place, true));
        ChunkPlace { digest: Digest::of(b""), offset, stored_bytes, bytes, block: 0, batch }
    }

    #[test]
    fn a_place_takes_four_bytes_and_a_chunk_no_more_than_before() {
        for (offset, is_compressed) in [(0, false), (0, true), (7, true), (InBatch::MOST - 1, false)] {
            let place = InBatch::new(offset, is_compressed);
            assert_eq!((place.offset(), place.is_compressed()), (offset, is_compressed));
        }
        assert_eq!((size_of::<Option<InBatch>>(), size_of::<ChunkPlace>()), (4, 56));
    }

    #[test]
    fn chunks_that_are_stored_as_one_piece_are_a_batch() {
        let chunks =
            [(0, 30, 40, None), (30, 5, 4, Some(0)), (30, 5, 6, Some(4)), (35, 2, 3, Some(0)), (37, 9, 90, None)]
                .map(chunk);
        let found: Vec<(u32, u32)> = batches(&chunks).map(|batch| (batch.stored_bytes, batch.bytes)).collect();
        assert_eq!(found, [(5, 10), (2, 3)]);
        assert!(has_batches(&chunks) && !has_batches(&chunks[..1]));
        assert_eq!((check(&chunks, 10), check(&chunks, 9)), (Ok(()), Err("a batch has an impossible length")));
    }

    #[test]
    fn batches_that_contradict_themselves_are_told() {
        let follow = "the chunks of a batch do not follow each other";
        let length = "a batch has an impossible length";
        let stored = |bytes| ChunkPlace { batch: Some(InBatch::new(0, false)), ..chunk((0, bytes, 9, None)) };
        let rows = [
            (vec![chunk((0, 5, 4, Some(1)))], Err(follow)),
            (vec![chunk((0, 5, 4, Some(0))), chunk((0, 5, 4, Some(0)))], Err(follow)),
            (vec![chunk((0, 5, 4, Some(0))), chunk((0, 5, 4, Some(8)))], Err(follow)),
            (vec![chunk((0, 5, 4, Some(0))), chunk((0, 6, 4, Some(4)))], Err(length)),
            (vec![chunk((0, 5, 4, Some(0)))], Err(length)),
            (vec![chunk((0, 4, u32::MAX, Some(0))), chunk((0, 4, u32::MAX, Some(u32::MAX >> 8)))], Err(follow)),
            (vec![stored(9)], Ok(())),
            (vec![stored(8)], Err(length)),
            (vec![stored(9), chunk((0, 9, 9, Some(9)))], Err(follow)),
            (vec![], Ok(())),
        ];
        for (chunks, expected) in rows {
            assert_eq!(check(&chunks, 1 << 20), expected, "{chunks:?}");
        }
    }
}
