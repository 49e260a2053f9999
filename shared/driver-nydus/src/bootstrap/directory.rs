//! What a directory holds: blocks of entries, each block with its entries first and their names behind.

use super::layout::{BLOCK_BYTES, file_type};
use super::place::Plan;
use crate::tree::{Body, Directory, InodeId, Tree};

/// The length of an entry without its name.
pub(super) const ENTRY_BYTES: usize = 12;

/// Whether an inode is one of the bootstrap's: a link to a layer below is not.
pub(super) fn is_listed(tree: &Tree, id: InodeId) -> bool {
    !matches!(tree.inode(id).body, Body::LinkBelow(_))
}

/// How long a directory's data are.
pub(super) fn bytes(tree: &Tree, directory: &Directory) -> u64 {
    let names = directory.entries(Tree::ROOT, Tree::ROOT).filter(|(_, id)| is_listed(tree, *id));
    names.fold(0, |bytes, (name, _)| {
        let entry = (ENTRY_BYTES + name.len()) as u64;
        let fits = bytes % BLOCK_BYTES + entry <= BLOCK_BYTES;
        entry + if fits { bytes } else { bytes.next_multiple_of(BLOCK_BYTES) }
    })
}

/// The data of directory `id`.
pub(super) fn data(tree: &Tree, plan: &Plan, id: InodeId, directory: &Directory) -> Vec<u8> {
    let mut data = Vec::new();
    let mut block = Block::default();
    for (name, child) in directory.entries(id, plan.parent(id)).filter(|(_, id)| is_listed(tree, *id)) {
        if !block.has_room(name) {
            block.write(&mut data);
            data.resize(data.len().next_multiple_of(BLOCK_BYTES as usize), 0);
            block = Block::default();
        }
        block.add(name, plan.place(child).number, type_of(&tree.inode(child).body));
    }
    block.write(&mut data);
    data
}

/// One block.
#[derive(Default)]
struct Block<'n> {
    entries: Vec<(&'n [u8], u32, u8)>,
    bytes: usize,
}

impl<'n> Block<'n> {
    fn has_room(&self, name: &[u8]) -> bool {
        self.bytes + ENTRY_BYTES + name.len() <= BLOCK_BYTES as usize
    }

    fn add(&mut self, name: &'n [u8], number: u32, kind: u8) {
        self.bytes += ENTRY_BYTES + name.len();
        self.entries.push((name, number, kind));
    }

    fn write(&self, data: &mut Vec<u8>) {
        let mut name_at = self.entries.len() * ENTRY_BYTES;
        for (name, number, kind) in &self.entries {
            data.extend(u64::from(*number).to_le_bytes());
            data.extend((name_at as u16).to_le_bytes());
            data.extend([*kind, 0]);
            name_at += name.len();
        }
        self.entries.iter().for_each(|(name, ..)| data.extend(*name));
    }
}

fn type_of(body: &Body) -> u8 {
    match body {
        Body::Directory(_) => file_type::DIRECTORY,
        Body::File { .. } | Body::LinkBelow(_) => file_type::FILE,
        Body::Symlink(_) => file_type::SYMLINK,
        Body::CharDevice(_) => file_type::CHAR_DEVICE,
        Body::BlockDevice(_) => file_type::BLOCK_DEVICE,
        Body::Fifo => file_type::FIFO,
    }
}
