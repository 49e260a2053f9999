//! The files of a layer at a few bytes each: a fingerprint of the path, a digest of everything else.
//!
//! A hard link's digest covers that of the file that it is a link to, as the source has it at that point of its tar: a
//! link to a version that is replaced later is not the same as one to the version that stays.

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
    /// It is a hard link to a path that the target does not have before it.
    Dangling,
}

impl Files {
    /// Notes an entry of the source; a later one of the same path replaces it.
    pub(super) fn note(&mut self, entry: &Entry, content: Option<Digest>) {
        let file = File { sum: self.sum(entry, content), found: false };
        self.files.insert(self.fingerprint(&entry.path), file);
    }

    /// Strikes off an entry of the target.
    pub(super) fn find(&mut self, entry: &Entry, content: Option<Digest>) -> Found {
        let (path, sum) = (self.fingerprint(&entry.path), self.sum(entry, content));
        let is_found = |file: &File| file.found;
        if entry.kind == EntryKind::HardLink && !self.files.get(&self.fingerprint(&entry.link)).is_some_and(is_found) {
            return Found::Dangling;
        }
        match self.files.get_mut(&path) {
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
        let path = self.fingerprint(path);
        let file = self.files.get_mut(&path);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind, link: &str) -> Entry {
        Entry { path: path.into(), kind, link: link.into(), ..Entry::default() }
    }

    #[test]
    fn strikes_each_path_off_once() {
        let (dir, file) = (entry("d/", EntryKind::Directory, ""), entry("./d/f", EntryKind::Regular, ""));
        let mut files = Files::default();
        files.note(&dir, None);
        files.note(&file, Some(Digest::of(b"first")));
        files.note(&file, Some(Digest::of(b"second")));
        assert_eq!(files.missing(), 2);
        assert_eq!(files.find(&entry("/d/f", EntryKind::Regular, ""), Some(Digest::of(b"second"))), Found::Same);
        assert_eq!(files.find(&file, Some(Digest::of(b"second"))), Found::Again);
        assert_eq!(files.find(&entry("e", EntryKind::Directory, ""), None), Found::Extra);
        assert_eq!(files.missing(), 1);
        assert!(files.is_missing(b"d") && !files.is_missing(b"d") && !files.is_missing(b"d/f"));
    }

    #[test]
    fn a_hard_link_needs_what_it_is_a_link_to_before_it() {
        let (file, link) = (entry("f", EntryKind::Regular, ""), entry("h", EntryKind::HardLink, "./f"));
        let mut files = Files::default();
        files.note(&file, Some(Digest::of(b"")));
        files.note(&link, None);
        assert_eq!(files.find(&link, None), Found::Dangling);
        assert_eq!(files.find(&file, Some(Digest::of(b""))), Found::Same);
        assert_eq!(files.find(&link, None), Found::Same);
    }

    #[test]
    fn everything_about_an_entry_counts() {
        let base = || Entry { xattrs: vec![(b"a".to_vec(), b"1".to_vec())], ..entry("f", EntryKind::Regular, "") };
        let edits: [fn(&mut Entry); 12] = [
            |entry| entry.kind = EntryKind::Fifo,
            |entry| entry.mode = 0o1000,
            |entry| entry.uid = 1,
            |entry| entry.gid = 1,
            |entry| entry.size = 1,
            |entry| entry.mtime.seconds = -1,
            |entry| entry.mtime.nanos = 1,
            |entry| entry.dev_minor = 1,
            |entry| entry.user = b"u".to_vec(),
            |entry| entry.group = b"u".to_vec(),
            |entry| entry.link = b"u".to_vec(),
            |entry| entry.xattrs[0].1 = b"2".to_vec(),
        ];
        for (at, edit) in edits.iter().enumerate() {
            let mut files = Files::default();
            files.note(&base(), None);
            let mut other = base();
            edit(&mut other);
            assert_eq!(files.find(&other, None), Found::Other, "edit {at}");
        }
        let mut files = Files::default();
        files.note(&base(), None);
        assert_eq!(files.find(&Entry { mode: 0o100_000, ..base() }, None), Found::Same, "type bits say nothing");
    }
}
