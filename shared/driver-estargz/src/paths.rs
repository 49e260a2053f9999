//! Which paths a layer has, at a few bytes each: 64-bit fingerprints of cleaned names.
//!
//! The fingerprints are keyed with a random key: nobody can prepare a layer whose names collide, and nothing in the
//! output depends on them but for collisions that do not happen.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// The fingerprint of a cleaned name.
pub(crate) type Fingerprint = u64;

/// A map keyed by fingerprints, which need no further hashing.
pub(crate) type ByFingerprint<V> = HashMap<Fingerprint, V, BuildHasherDefault<Identity>>;

/// The name as readers of a TOC see it: absolute, cleaned as Go's `path.Clean` does, without the leading slash.
pub fn clean(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// The paths seen so far, with the ordinal of the latest entry of each.
#[derive(Default)]
pub(crate) struct Paths {
    key: RandomState,
    ordinals: ByFingerprint<u32>,
}

impl Paths {
    pub(crate) fn fingerprint(&self, cleaned: &[u8]) -> Fingerprint {
        self.key.hash_one(cleaned)
    }

    /// Notes that entry `ordinal` has this path; returns the earlier entry that has it too.
    pub(crate) fn insert(&mut self, path: Fingerprint, ordinal: u32) -> Option<u32> {
        self.ordinals.insert(path, ordinal)
    }

    pub(crate) fn get(&self, path: Fingerprint) -> Option<u32> {
        self.ordinals.get(&path).copied()
    }
}

/// A hasher for keys that are hashes.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_as_go_does() {
        let rows: [(&[u8], &[u8]); 9] = [
            (b"./", b""),
            (b"/", b""),
            (b"a", b"a"),
            (b"./a/", b"a"),
            (b"/a//b/./c", b"a/b/c"),
            (b"a/../b", b"b"),
            (b"../../etc", b"etc"),
            (b"a/..", b""),
            (b"a/...", b"a/..."),
        ];
        for (name, expected) in rows {
            assert_eq!(clean(name), expected, "{}", String::from_utf8_lossy(name));
        }
    }
}
