//! What no file refers to any more, since a later entry or layer has replaced the one that did.

use super::blobs::{ChunkRef, chunks_of};
use crate::tree::Tree;

/// Leaves out of `all`, which are blobs or chunks, those to which no file that can be reached refers; `number` says which of
/// them a reference is to. Returns the new number of each; one that was left out has that of the next.
pub(crate) fn leave_out_unused<T>(
    all: &mut Vec<T>,
    tree: &Tree,
    refs: &[ChunkRef],
    chunk_bytes: u32,
    number: impl Fn(ChunkRef) -> usize,
) -> Vec<u32> {
    let mut used = vec![false; all.len()];
    for id in tree.reachable() {
        chunks_of(tree.inode(id), refs, chunk_bytes).iter().for_each(|chunk| used[number(*chunk)] = true);
    }
    let mut keep = used.iter();
    all.retain(|_| keep.next() == Some(&true));
    let mut next = 0;
    let numbers = used.iter().map(|used| {
        let number = next;
        next += u32::from(*used);
        number
    });
    numbers.collect()
}
