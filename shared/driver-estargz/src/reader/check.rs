//! A blob against its TOC: both are read once, side by side, in the order of the TOC.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

use accel_image::{Digest, Hasher};
use accel_stream::{Entry, EntryKind, Limits, TarReader};

use crate::layout::{LANDMARK, LANDMARK_CONTENTS, TOC_NAME, is_reserved};
use crate::paths::clean;
use crate::reader::compare::Comparison;
use crate::reader::members::{At, Members};
use crate::reader::{FormatError, TocEntry, TocKind, TocSums, read_toc};

/// Payload that is hashed at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// A blob that is what its TOC and its footer say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBlob {
    /// The blob's digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of what it decompresses to.
    pub diff_id: Digest,
    /// The size of that in bytes.
    pub uncompressed_size: u64,
    /// The digest of its TOC.
    pub toc_digest: Digest,
    /// How many entries its tar has, without the format's own.
    pub entries: u64,
    /// How many chunks were compared with their digests.
    pub chunks: u64,
    /// How many entries come before the landmark.
    pub prioritized: u64,
}

/// Reads a whole blob, and its TOC beside it, and compares every chunk, digest and place. `toc` begins where the
/// member of the TOC does and goes on to the end of the blob; `toc_at` and `footer_at` are what the footer says (see
/// [`super::toc_offset`]). `each` sees every entry that is not the format's own, with the digest of its content if it
/// is a file.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_blob(
    blob: impl Read,
    toc: impl Read,
    (toc_at, footer_at): (u64, u64),
    limits: Limits,
    each: &mut dyn FnMut(&Entry, Option<Digest>),
) -> Result<CheckedBlob, FormatError> {
    let members = Handle(Rc::new(RefCell::new(Members::new(blob, limits))));
    let mut walk = Walk {
        tar: TarReader::new(members.clone(), limits),
        members,
        comparison: Comparison::default(),
        open: None,
        block: vec![0; BLOCK_BYTES],
        seen: Seen::default(),
        each,
    };
    let sums = read_toc(toc, limits, &mut |entry| walk.take(&entry))?;
    walk.finish(sums, toc_at, footer_at)
}

/// The members, read by the tar walker and asked for places beside it.
struct Handle<R>(Rc<RefCell<Members<R>>>);

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Read> Read for Handle<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(out)
    }
}

struct Walk<'w, R> {
    tar: TarReader<Handle<R>>,
    members: Handle<R>,
    comparison: Comparison,
    open: Option<OpenFile>,
    block: Vec<u8>,
    seen: Seen,
    each: &'w mut dyn FnMut(&Entry, Option<Digest>),
}

#[derive(Default)]
struct Seen {
    entries: u64,
    chunks: u64,
    prioritized: u64,
    landmark: bool,
}

/// The current file, as long as chunks of it are missing.
struct OpenFile {
    whole: Hasher,
    expected: Digest,
}

impl<R: Read> Walk<'_, R> {
    fn take(&mut self, toc: &TocEntry) -> Result<(), FormatError> {
        if toc.kind == TocKind::Chunk {
            return self.chunk(toc);
        }
        self.ended()?;
        self.step()?;
        self.comparison.compare(toc, self.tar.entry())?;
        match (toc.kind, toc.digest) {
            (TocKind::Reg, None) => Err(self.wrong("the TOC has no digest of it")),
            (TocKind::Reg, Some(expected)) => {
                self.open = Some(OpenFile { whole: Hasher::default(), expected });
                if toc.size > 0 { self.chunk(toc) } else { self.close() }
            }
            (_, _) if toc.chunk_digest.is_some() => Err(self.wrong("the TOC has a chunk of it, but it is no file")),
            (_, _) => self.see(None),
        }
    }

    /// Steps to the next entry that a TOC names.
    fn step(&mut self) -> Result<(), FormatError> {
        while let Some(entry) = self.tar.next_entry()? {
            if entry.kind != EntryKind::GlobalHeader {
                return Ok(());
            }
        }
        Err(FormatError::TocMember("the tar ends before the TOC does"))
    }

    /// Compares a chunk: its place, its bytes.
    fn chunk(&mut self, toc: &TocEntry) -> Result<(), FormatError> {
        let left = self.tar.payload_left();
        let Some(open) = &self.open else { return Err(self.wrong("a chunk of another file follows it in the TOC")) };
        let bytes = if toc.chunk_size == 0 { left } else { toc.chunk_size };
        if toc.name.as_bytes() != self.tar.entry().path || bytes == 0 || bytes > left {
            return Err(self.wrong("its chunks do not make it up"));
        }
        if toc.chunk_offset != open.whole.bytes() {
            return Err(self.wrong("a chunk is at another place of the file than the TOC says"));
        }
        let at = self.members.0.borrow_mut().next_at()?;
        if at != Some(At { member: toc.offset, inner: toc.inner_offset }) {
            return Err(self.wrong("a chunk is at another place of the blob than the TOC says"));
        }
        if Some(self.hash(bytes)?) != toc.chunk_digest {
            return Err(self.wrong("a chunk has another digest than the TOC says"));
        }
        self.seen.chunks += 1;
        if self.tar.payload_left() == 0 { self.close() } else { Ok(()) }
    }

    /// The digest of the next bytes of the payload, which count for the whole file too.
    fn hash(&mut self, bytes: u64) -> Result<Digest, FormatError> {
        let mut hasher = Hasher::default();
        let mut left = bytes;
        while left > 0 {
            let most = left.min(self.block.len() as u64) as usize;
            let got = self.tar.read_payload(&mut self.block[..most])?;
            hasher.update(&self.block[..got]);
            if let Some(open) = &mut self.open {
                open.whole.update(&self.block[..got]);
            }
            left -= got as u64;
        }
        Ok(hasher.finish())
    }

    /// Whether no chunk of the current entry is missing.
    fn ended(&self) -> Result<(), FormatError> {
        if self.open.is_some() { Err(self.wrong("its chunks do not make it up")) } else { Ok(()) }
    }

    /// Ends a file with its last chunk.
    fn close(&mut self) -> Result<(), FormatError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let found = open.whole.finish();
        if found != open.expected {
            return Err(self.wrong("it has another digest than the TOC says"));
        }
        self.see(Some(found))
    }

    /// An entry that is as the TOC says. The format's own are the landmark, once, and nothing else.
    fn see(&mut self, digest: Option<Digest>) -> Result<(), FormatError> {
        let entry = self.tar.entry();
        let name = clean(&entry.path);
        if !is_reserved(&name) {
            self.seen.entries += 1;
            (self.each)(entry, digest);
            return Ok(());
        }
        if name == TOC_NAME.as_bytes() || digest != Some(Digest::of(&LANDMARK_CONTENTS)) || entry.mode != 0 {
            return Err(self.wrong("it has a name that only the format's own entries may have"));
        }
        if std::mem::replace(&mut self.seen.landmark, true) {
            return Err(self.wrong("it is a second landmark"));
        }
        if name == LANDMARK.as_bytes() {
            self.seen.prioritized = self.seen.entries;
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> FormatError {
        FormatError::entry(&self.tar.entry().path, what)
    }

    /// What comes after the last entry: the TOC itself, the end of the tar, the footer.
    fn finish(mut self, toc: TocSums, toc_at: u64, footer_at: u64) -> Result<CheckedBlob, FormatError> {
        self.ended()?;
        self.step()?;
        if self.tar.entry().path != TOC_NAME.as_bytes() || self.tar.entry().kind != EntryKind::Regular {
            return Err(self.wrong("it is not in the TOC"));
        }
        let header_bytes = self.tar.entry().raw.len() as u64;
        if self.members.0.borrow_mut().next_at()? != Some(At { member: toc_at, inner: header_bytes }) {
            return Err(FormatError::Footer("the TOC is not where it says"));
        }
        let found = self.hash(self.tar.payload_left())?;
        if found != toc.digest {
            return Err(FormatError::TocDigest { expected: toc.digest, found });
        }
        if self.tar.next_entry()?.is_some() {
            return Err(self.wrong("it comes after the TOC"));
        }
        drop(self.tar);
        let members = Rc::into_inner(self.members.0).expect("the walker, which had the other handle, is gone");
        let sums = members.into_inner().finish()?;
        if sums.last_member != footer_at {
            return Err(FormatError::Footer("it does not follow the TOC"));
        }
        let Seen { entries, chunks, prioritized, .. } = self.seen;
        Ok(CheckedBlob {
            digest: sums.digest,
            size: sums.bytes,
            diff_id: sums.diff_id,
            uncompressed_size: sums.tar_bytes,
            toc_digest: toc.digest,
            entries,
            chunks,
            prioritized,
        })
    }
}
