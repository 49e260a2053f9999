//! Entries, and how to say them.

use super::Format;
use super::header::{Block, octal};

/// One entry: a header, what goes before it, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) typeflag: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) uname: Vec<u8>,
    pub(super) gname: Vec<u8>,
    pub(super) mtime: i64,
    pub(super) nanos: u32,
    pub(super) device: Option<(u32, u32)>,
    pub(super) content: Vec<u8>,
    pub(super) size_field: Option<u64>,
    pub(super) pax: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) format: Option<Format>,
    pub(super) raw: Option<Vec<u8>>,
    pub(super) sparse: Option<Vec<u8>>,
}

/// The time of entries that do not say another: 2023-11-14T22:13:20Z.
const MTIME: i64 = 1_700_000_000;

fn entry(name: impl AsRef<[u8]>, typeflag: u8, mode: u32) -> Entry {
    Entry {
        name: name.as_ref().to_vec(),
        link: Vec::new(),
        typeflag,
        mode,
        uid: 0,
        gid: 0,
        uname: Vec::new(),
        gname: Vec::new(),
        mtime: MTIME,
        nanos: 0,
        device: None,
        content: Vec::new(),
        size_field: None,
        pax: Vec::new(),
        format: None,
        raw: None,
        sparse: None,
    }
}

/// A directory.
#[must_use]
pub fn dir(name: impl AsRef<[u8]>) -> Entry {
    entry(name, b'5', 0o755)
}

/// A regular file.
#[must_use]
pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    Entry { content: content.as_ref().to_vec(), ..entry(name, b'0', 0o644) }
}

/// A symbolic link.
#[must_use]
pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    Entry { link: target.as_ref().to_vec(), ..entry(name, b'2', 0o777) }
}

/// A hard link.
#[must_use]
pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    Entry { link: target.as_ref().to_vec(), ..entry(name, b'1', 0o644) }
}

/// A character device.
#[must_use]
pub fn char_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
    Entry { device: Some((major, minor)), ..entry(name, b'3', 0o666) }
}

/// A block device.
#[must_use]
pub fn block_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
    Entry { device: Some((major, minor)), ..entry(name, b'4', 0o660) }
}

/// A named pipe.
#[must_use]
pub fn fifo(name: impl AsRef<[u8]>) -> Entry {
    entry(name, b'6', 0o644)
}

/// The whiteout that removes `name` from the layers below. Spec: OCI image, "Whiteouts".
#[must_use]
pub fn whiteout(name: &str) -> Entry {
    match name.rsplit_once('/') {
        Some((parent, name)) => file(format!("{parent}/.wh.{name}"), b""),
        None => file(format!(".wh.{name}"), b""),
    }
}

/// The opaque whiteout that empties directory `name` of the layers below.
#[must_use]
pub fn opaque(name: &str) -> Entry {
    let parent = if name.is_empty() { String::new() } else { format!("{}/", name.trim_end_matches('/')) };
    file(format!("{parent}.wh..wh..opq"), b"")
}

/// A global extended header.
#[must_use]
pub fn global_pax(records: &[(&str, &str)]) -> Entry {
    let content =
        records.iter().flat_map(|(key, value)| super::write::record(key.as_bytes(), value.as_bytes())).collect();
    Entry { content, ..entry("pax_global_header", b'g', 0o666) }
}

/// GNU's entry that names the next one.
#[must_use]
pub fn gnu_long_name(name: impl AsRef<[u8]>) -> Entry {
    gnu_long(b'L', name.as_ref())
}

/// GNU's entry that gives the next one's link target.
#[must_use]
pub fn gnu_long_link(target: impl AsRef<[u8]>) -> Entry {
    gnu_long(b'K', target.as_ref())
}

fn gnu_long(typeflag: u8, text: &[u8]) -> Entry {
    let content = [text, b"\0"].concat();
    Entry { content, format: Some(Format::Gnu), mtime: 0, ..entry("././@LongLink", typeflag, 0) }
}

/// Any bytes, written as they are and padded to whole blocks.
#[must_use]
pub fn raw_header(bytes: impl AsRef<[u8]>) -> Entry {
    Entry { raw: Some(bytes.as_ref().to_vec()), ..entry("", 0, 0) }
}

/// GNU's old sparse file (`S`): `real_size` bytes, of which at most four pieces are not holes. Honest pieces start
/// at whole blocks, and all but the last are whole blocks.
///
/// # Panics
/// More than four pieces, one of them for a hole at the end: they need extension blocks.
#[must_use]
pub fn sparse_gnu(name: &str, real_size: u64, pieces: &[(u64, &[u8])]) -> Entry {
    let pieces = &with_end(real_size, pieces);
    assert!(pieces.len() <= 4, "the header of a sparse file holds four pieces");
    let mut map = vec![0; 24 * 4];
    for (slot, (offset, bytes)) in map.chunks_exact_mut(24).zip(pieces) {
        slot[..12].copy_from_slice(&octal::<12>(*offset));
        slot[12..].copy_from_slice(&octal::<12>(bytes.len() as u64));
    }
    map.push(0);
    map.extend(octal::<12>(real_size));
    let content = pieces.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    Entry { content, sparse: Some(map), format: Some(Format::Gnu), ..entry(name, b'S', 0o644) }
}

/// PAX's sparse file, version 1.0: the map stands at the start of the content.
#[must_use]
pub fn sparse_pax(name: &str, real_size: u64, pieces: &[(u64, &[u8])]) -> Entry {
    let pieces = with_end(real_size, pieces);
    let mut content = format!("{}\n", pieces.len()).into_bytes();
    for (offset, bytes) in &pieces {
        content.extend(format!("{offset}\n{}\n", bytes.len()).bytes());
    }
    content.resize(content.len().next_multiple_of(Block::BYTES), 0);
    pieces.iter().for_each(|(_, bytes)| content.extend_from_slice(bytes));
    file(format!("GNUSparseFile.0/{name}"), content)
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0")
        .pax("GNU.sparse.name", name)
        .pax("GNU.sparse.realsize", real_size.to_string())
}

/// The pieces, and an empty one where the file ends in a hole, as GNU tar writes it.
fn with_end<'a>(real_size: u64, pieces: &[(u64, &'a [u8])]) -> Vec<(u64, &'a [u8])> {
    let end = pieces.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64);
    let hole = (end < real_size).then_some((real_size, &[][..]));
    pieces.iter().copied().chain(hole).collect()
}

impl Entry {
    /// Permission bits, set-id and sticky bits included.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The owner's number.
    #[must_use]
    pub fn uid(self, uid: u64) -> Self {
        Self { uid, ..self }
    }

    /// The group's number.
    #[must_use]
    pub fn gid(self, gid: u64) -> Self {
        Self { gid, ..self }
    }

    /// The names of owner and group.
    #[must_use]
    pub fn owner(self, uname: &str, gname: &str) -> Self {
        Self { uname: uname.into(), gname: gname.into(), ..self }
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn mtime(self, mtime: i64) -> Self {
        Self { mtime, ..self }
    }

    /// Nanoseconds after the second; only PAX can say them.
    #[must_use]
    pub fn nanos(self, nanos: u32) -> Self {
        Self { nanos, ..self }
    }

    /// An extended attribute, as `SCHILY.xattr`.
    #[must_use]
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    /// A record of the extended header, in addition to those that are needed.
    #[must_use]
    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Content for an entry that usually has none.
    #[must_use]
    pub fn content(self, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..self }
    }

    /// A size in the header that need not be true.
    #[must_use]
    pub fn size_field(self, size: u64) -> Self {
        Self { size_field: Some(size), ..self }
    }

    /// Another type: `b'7'`, `0`, or one that nobody knows.
    #[must_use]
    pub fn typeflag(self, typeflag: u8) -> Self {
        Self { typeflag, ..self }
    }

    /// A format of its own.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format: Some(format), ..self }
    }
}
