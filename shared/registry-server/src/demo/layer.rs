//! One layer of the demo image: a tar that is hashed and compressed as it is written.

use std::io::{self, Write};

use accel_image::{Digest, Hasher};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// 2024-01-01, the time of everything in the image.
const MTIME_SECONDS: u64 = 1_704_067_200;

/// A layer being written.
pub(super) struct Layer {
    tar: Builder<HashedGzip>,
}

/// A layer as it goes into a registry.
pub(super) struct FinishedLayer {
    /// The compressed tar.
    pub(super) bytes: Vec<u8>,
    /// The digest of the tar.
    pub(super) diff_id: Digest,
}

impl Layer {
    pub(super) fn new() -> Self {
        let gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        Self { tar: Builder::new(HashedGzip { gzip, hasher: Hasher::default() }) }
    }

    pub(super) fn dir(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.owned_dir(path, mode, 0)
    }

    pub(super) fn owned_dir(&mut self, path: &str, mode: u32, owner: u64) -> io::Result<()> {
        let mut header = header(EntryType::Directory, mode, 0);
        header.set_uid(owner);
        header.set_gid(owner);
        self.tar.append_data(&mut header, format!("{path}/"), io::empty())
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.tar.append_data(&mut header(EntryType::Regular, mode, bytes.len()), path, bytes)
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)
    }

    pub(super) fn hard_link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.tar.append_link(&mut header(EntryType::Link, 0o755, 0), path, target)
    }

    pub(super) fn finish(self) -> io::Result<FinishedLayer> {
        let HashedGzip { gzip, hasher } = self.tar.into_inner()?;
        Ok(FinishedLayer { bytes: gzip.finish()?, diff_id: hasher.finish() })
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(MTIME_SECONDS);
    header.set_uid(0);
    header.set_gid(0);
    header
}

struct HashedGzip {
    gzip: GzEncoder<Vec<u8>>,
    hasher: Hasher,
}

impl Write for HashedGzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.gzip.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}
