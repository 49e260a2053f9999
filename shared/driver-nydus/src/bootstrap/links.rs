//! Hard links of a layer to files of the layers below: in a section of their own, which nobody else reads. What is in a
//! directory with a whiteout's name is not shown, and links there are left out.
//!
//! An entry is the length of the path, the length of the target (four bytes each), path, target; both without a slash at
//! the beginning.

use crate::names::WHITEOUT;
use crate::tree::{Body, InodeId, Tree};

/// The links of a tree; empty if it has none.
pub(super) fn encode(tree: &Tree) -> Vec<u8> {
    let mut links = Vec::new();
    let mut path: Vec<u8> = Vec::new();
    let mut open: Vec<(usize, &[u8], InodeId)> = vec![(0, b"", Tree::ROOT)];
    while let Some((parent, name, id)) = open.pop() {
        path.truncate(parent);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        match &tree.inode(id).body {
            Body::Directory(directory) => {
                let shown = directory.children().rev().filter(|(name, _)| !name.starts_with(WHITEOUT));
                open.extend(shown.map(|(name, child)| (path.len(), name, child)));
            }
            Body::LinkBelow(target) => {
                for text in [&path[..], target] {
                    links.extend((text.len() as u32).to_le_bytes());
                }
                links.extend(&path);
                links.extend(target);
            }
            _ => {}
        }
    }
    links
}
