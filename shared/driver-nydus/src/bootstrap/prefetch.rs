//! What is fetched ahead: inodes by their paths.

use super::{Extra, Image};
use crate::tree::InodeId;

/// The inodes that an image with contents is told to fetch ahead, each once, in the order of their paths. What is not there
/// is left out; a directory stands for everything below it.
pub(super) fn find(image: &Image<'_>) -> Vec<InodeId> {
    let paths = match image.extra {
        Extra::Image { prefetch } if !image.blobs.all().is_empty() => prefetch,
        Extra::Image { .. } | Extra::Layer => &[],
    };
    let mut found = Vec::new();
    for path in paths {
        let names = path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes);
        match image.tree.find(names) {
            Some(id) if !found.contains(&id) => found.push(id),
            Some(_) | None => {}
        }
    }
    found
}
