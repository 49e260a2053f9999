//! The blobs that a layer's bootstrap lists: its own, then those of the chunk dictionary.

use crate::bootstrap::{Blob, ChunkRef, new_numbers, used};
use crate::dictionary::ChunkDictionary;
use crate::tree::Tree;

/// The number of the layer's own blob while the layer is read.
const OWN: u8 = 0;

/// A chunk of the layer's own blob, while the layer is read.
pub(super) const fn own_chunk(number: u32) -> ChunkRef {
    ChunkRef::new(OWN, number)
}

/// A chunk of the dictionary's, while the layer is read: its blobs follow the layer's own, of which there are 254 at most.
pub(super) const fn other_chunk(chunk: ChunkRef) -> ChunkRef {
    ChunkRef::new(OWN + 1 + chunk.blob() as u8, chunk.chunk())
}

/// The blobs: `own` if it has chunks, and those of the dictionary to whose chunks files refer. `refs` get their numbers.
pub(super) fn list(
    own: Blob,
    dictionary: Option<&ChunkDictionary>,
    tree: &Tree,
    refs: &mut [ChunkRef],
    chunk_bytes: u32,
) -> Vec<Blob> {
    let has_own = !own.chunks.is_empty();
    let own = has_own.then_some(own);
    let Some(dictionary) = dictionary else { return own.into_iter().collect() };
    let others = dictionary.blobs();
    let mut used = used(1 + others.len(), tree, refs, chunk_bytes, ChunkRef::blob);
    used[usize::from(OWN)] = has_own;
    let numbers = new_numbers(&used);
    refs.iter_mut().for_each(|chunk| *chunk = ChunkRef::new(numbers[chunk.blob()] as u8, chunk.chunk()));
    let others = others.iter().zip(&used[1..]).filter(|(_, is_used)| **is_used).map(|(blob, _)| blob.clone());
    own.into_iter().chain(others).collect()
}
