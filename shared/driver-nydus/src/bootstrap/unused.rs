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
    let used = used(all.len(), tree, refs, chunk_bytes, number);
    let mut keep = used.iter();
    all.retain(|_| keep.next() == Some(&true));
    new_numbers(&used)
}

/// Which of `count` blobs or chunks files that can be reached refer to; `number` says which of them a reference is to.
pub(crate) fn used(
    count: usize,
    tree: &Tree,
    refs: &[ChunkRef],
    chunk_bytes: u32,
    number: impl Fn(ChunkRef) -> usize,
) -> Vec<bool> {
    let mut used = vec![false; count];
    for id in tree.reachable() {
        chunks_of(tree.inode(id), refs, chunk_bytes).iter().for_each(|chunk| used[number(*chunk)] = true);
    }
    used
}

/// The number of each where those that are not used are left out; one of these has that of the next.
pub(crate) fn new_numbers(used: &[bool]) -> Vec<u32> {
    let mut next = 0;
    let numbers = used.iter().map(|used| {
        let number = next;
        next += u32::from(*used);
        number
    });
    numbers.collect()
}
