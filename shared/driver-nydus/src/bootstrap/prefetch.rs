//! What is fetched ahead: inodes by their paths.

use crate::tree::{InodeId, Tree};

/// The inodes that `paths` name, each once, in their order. What is not there is left out; a directory stands for everything
/// below it.
pub(super) fn find(tree: &Tree, paths: &[String]) -> Vec<InodeId> {
    let mut found = Vec::new();
    for path in paths {
        let names = path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes);
        match tree.find(names) {
            Some(id) if !found.contains(&id) => found.push(id),
            Some(_) | None => {}
        }
    }
    found
}
