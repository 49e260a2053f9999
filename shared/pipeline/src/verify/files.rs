//! The files of a layer at a few bytes each: a fingerprint of the path, a digest of everything else.
//!
//! A hard link's digest covers that of the file it is a link to at that point of the tar, so that a link to an older
//! version of a file is not the same as one to a newer version.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use accel_driver_estargz::reader::clean_path;
use accel_image::{Digest, Hasher};
use accel_stream::{Entry, EntryKind};

/// Bytes of an entry's digest that are kept: 184 bits are beyond any search for two that agree.
const SUM_BYTES: usize = 23;

/// Permission bits, set-id and sticky bits; what some writers put beyond them says what the kind says.
const MODE_BITS: u32 = 0o7777;

/// The files of one layer. 33 bytes each, at most 113 while the table grows.
#[derive(Default)]
pub(super) struct Files {
    key: RandomState,
    files: HashMap<u64, File>,
}

struct File {
    sum: [u8; SUM_BYTES],
    found: bool,
}

/// What is different about an entry of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Same,
    /// The source has none of this path.
    Extra,
    /// The target had one of this path before.
    Again,
    /// The source's is another.
    Other,
}

impl Files {
    /// Notes an entry of the source; a later one of the same path replaces it.
    pub(super) fn note(&mut self, entry: &Entry, content: Option<Digest>) {
        let file = File { sum: self.sum(entry, content), found: false };
        self.files.insert(self.fingerprint(&entry.path), file);
    }

    /// Strikes off an entry of the target.
    pub(super) fn find(&mut self, entry: &Entry, content: Option<Digest>) -> Found {
        let sum = self.sum(entry, content);
        match self.files.get_mut(&self.key.hash_one(clean_path(&entry.path))) {
            None => Found::Extra,
            Some(File { found: true, .. }) => Found::Again,
            Some(file) => {
                file.found = true;
                if file.sum == sum { Found::Same } else { Found::Other }
            }
        }
    }

    /// How many files of the source were not found.
    pub(super) fn missing(&self) -> usize {
        self.files.values().filter(|file| !file.found).count()
    }

    /// Whether a path of the source was not found. Says so once.
    pub(super) fn is_missing(&mut self, path: &[u8]) -> bool {
        let file = self.files.get_mut(&self.key.hash_one(clean_path(path)));
        file.is_some_and(|file| !std::mem::replace(&mut file.found, true))
    }

    fn fingerprint(&self, path: &[u8]) -> u64 {
        self.key.hash_one(clean_path(path))
    }

    fn sum(&self, entry: &Entry, content: Option<Digest>) -> [u8; SUM_BYTES] {
        let mut hasher = Hasher::default();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(&[kind(entry.kind)]);
        for number in [u64::from(entry.mode & MODE_BITS), entry.uid, entry.gid, entry.size] {
            part(&number.to_le_bytes());
        }
        part(&entry.mtime.seconds.to_le_bytes());
        for number in [entry.mtime.nanos, entry.dev_major, entry.dev_minor] {
            part(&number.to_le_bytes());
        }
        for text in [&entry.user, &entry.group, &entry.link] {
            part(text);
        }
        let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
        xattrs.sort();
        for (name, value) in xattrs {
            part(name);
            part(value);
        }
        part(content.as_ref().map_or(&[], |digest| digest.as_bytes().as_slice()));
        if entry.kind == EntryKind::HardLink {
            part(self.files.get(&self.fingerprint(&entry.link)).map_or(&[], |file| file.sum.as_slice()));
        }
        let mut sum = [0; SUM_BYTES];
        sum.copy_from_slice(&hasher.finish().as_bytes()[..SUM_BYTES]);
        sum
    }
}

const fn kind(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Regular => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
        EntryKind::GlobalHeader => b'g',
        EntryKind::Sparse => b'S',
        EntryKind::Unsupported(flag) => flag,
    }
}
