//! All that is said of a file, as one digest: the same for an entry of a tar and for an inode of a Nydus image.

use accel_driver_nydus::reader::Inode;
use accel_image::{Digest, Hasher};
use accel_stream::{Entry, EntryKind, Mtime};

/// A digest of what is said of a file, or of what is in it.
pub(super) type Sum = Digest;

/// Permission bits, set-id and sticky bits.
const MODE_BITS: u32 = 0o7777;

/// Name spaces of extended attributes that a Linux file system has; others are in tars, and in no file system.
const NAME_SPACES: [&[u8]; 5] =
    [b"user.", b"trusted.", b"security.", b"system.posix_acl_access", b"system.posix_acl_default"];

/// What is said of a file.
pub(super) struct Facts<'f> {
    kind: EntryKind,
    mode: u32,
    owner: (u64, u64),
    size: u64,
    mtime: Mtime,
    device: (u32, u32),
    link: &'f [u8],
    xattrs: &'f [(Vec<u8>, Vec<u8>)],
}

impl<'f> Facts<'f> {
    /// What a tar's entry says.
    pub(super) fn of_entry(entry: &'f Entry) -> Self {
        Self {
            kind: entry.kind,
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            size: entry.size,
            mtime: entry.mtime,
            device: (entry.dev_major, entry.dev_minor),
            link: &entry.link,
            xattrs: &entry.xattrs,
        }
    }

    /// What an inode says.
    pub(super) fn of_inode(inode: &'f Inode) -> Self {
        Self {
            kind: inode.kind,
            mode: inode.mode,
            owner: (inode.uid.into(), inode.gid.into()),
            size: inode.size,
            mtime: inode.mtime,
            device: inode.dev,
            link: &inode.link,
            xattrs: &inode.xattrs,
        }
    }

    /// All of it, with what is in the file, as one digest. What means nothing for the kind does not count.
    pub(super) fn sum(&self, content: Option<Sum>) -> Sum {
        let mut hasher = Hasher::default();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(&[kind(self.kind)]);
        let is_device = matches!(self.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let size = if self.kind == EntryKind::Regular { self.size } else { 0 };
        let (major, minor) = if is_device { self.device } else { (0, 0) };
        for number in [u64::from(self.mode & MODE_BITS), self.owner.0, self.owner.1, size, major.into(), minor.into()] {
            part(&number.to_le_bytes());
        }
        part(&self.mtime.seconds.to_le_bytes());
        part(&self.mtime.nanos.to_le_bytes());
        part(if self.kind == EntryKind::Symlink { self.link } else { b"" });
        let in_linux = |(name, _): &&(Vec<u8>, Vec<u8>)| NAME_SPACES.iter().any(|space| name.starts_with(space));
        let mut xattrs: Vec<_> = self.xattrs.iter().filter(in_linux).collect();
        xattrs.sort();
        for (name, value) in xattrs {
            part(name);
            part(value);
        }
        part(content.as_ref().map_or(&[], |content| content.as_bytes().as_slice()));
        hasher.finish()
    }
}

/// A directory that no entry has made: 0755, root's, without a time.
pub(super) fn implicit_directory() -> Sum {
    let entry = Entry { kind: EntryKind::Directory, mode: 0o755, ..Entry::default() };
    Facts::of_entry(&entry).sum(None)
}

/// What is in a file: the digests of its chunks, one after the other.
#[derive(Default)]
pub(super) struct Content(Hasher);

impl Content {
    /// Adds the next chunk.
    pub(super) fn chunk(&mut self, digest: Digest) {
        self.0.update(digest.as_bytes());
    }

    /// All chunks as one digest.
    pub(super) fn sum(self) -> Sum {
        self.0.finish()
    }
}

const fn kind(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Regular => b'-',
        EntryKind::HardLink => b'h',
        EntryKind::Symlink => b'l',
        EntryKind::CharDevice => b'c',
        EntryKind::BlockDevice => b'b',
        EntryKind::Directory => b'd',
        EntryKind::Fifo => b'p',
        EntryKind::Sparse | EntryKind::GlobalHeader | EntryKind::Unsupported(_) => b'?',
    }
}
