//! Digests of inodes, which nydusd compares where it is told to: of a file that over the digests of its chunks, of a
//! symbolic link that of its target, of a directory that over the digests of its children, of everything else that of
//! nothing.

use accel_image::{Digest, Hasher};

use super::plan::Record;
use crate::bootstrap::Image;
use crate::tree::Body;

/// One for each record. A directory's children have larger numbers than it has.
pub(super) fn of_records(image: &Image<'_>, records: &[Record<'_>]) -> Vec<Digest> {
    let mut digests = vec![Digest::from_bytes([0; 32]); records.len()];
    for (at, record) in records.iter().enumerate().rev() {
        let inode = image.tree.inode(record.id);
        let mut hasher = Hasher::default();
        match &inode.body {
            Body::Directory(_) => {
                let children = &digests[record.first_child as usize - 1..][..record.children as usize];
                children.iter().for_each(|digest| hasher.update(digest.as_bytes()));
            }
            Body::Symlink(target) => hasher.update(target),
            _ => {
                let chunks = image.chunks_of(inode).iter();
                chunks.for_each(|chunk| hasher.update(image.blobs.chunk(*chunk).digest.as_bytes()));
            }
        }
        digests[at] = hasher.finish();
    }
    digests
}
