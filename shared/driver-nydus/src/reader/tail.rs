//! The end of a blob: which sections it has, and what is in them. Spec: nydus `storage/src/meta/toc.rs`.

use std::io::{self, Read};

use accel_image::{Digest, Hasher};
use accel_stream::StreamError;

use super::bytes::Bytes;
use super::fault::FormatError;
use crate::bootstrap::MOST_LAYER_BOOTSTRAP_BYTES;
use crate::names::section;

/// What a blob ends with: a table of contents of at most so many sections, and its tar header.
pub(crate) const TAIL_BYTES: u64 = TOC_ENTRY_BYTES * MOST_SECTIONS + TAR_HEADER_BYTES;

const TAR_HEADER_BYTES: u64 = 512;
const TOC_ENTRY_BYTES: u64 = 128;
const MOST_SECTIONS: u64 = 9;
const WHAT: &str = "table of contents";
/// What is reserved for a section before its bytes come.
const RESERVED_BYTES: u64 = 16 << 20;

/// A section of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) is_zstd: bool,
    /// Of the uncompressed bytes.
    pub(crate) digest: Digest,
    pub(crate) offset: u64,
    pub(crate) stored_bytes: u64,
    pub(super) bytes: u64,
}

/// The sections that a merge looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sections {
    /// Of a layer that has contents: array and header of `blob.meta`, one behind the other.
    pub(crate) meta: Option<(Section, Section)>,
    pub(crate) bootstrap: Section,
}

impl Sections {
    /// Finds them from `tail`, the last [`TAIL_BYTES`] of a blob of `blob_bytes`, or all of it if it is shorter.
    pub(crate) fn find(tail: &[u8], blob_bytes: u64) -> Result<Self, FormatError> {
        let toc = toc(tail)?;
        let entry = |name: &str| {
            let entries = toc.as_chunks::<{ TOC_ENTRY_BYTES as usize }>().0;
            let entry = entries.iter().find(|entry| name_of(entry) == name.as_bytes())?;
            Some(Section::parse(Bytes(entry), blob_bytes))
        };
        let bootstrap = entry(section::BOOTSTRAP).ok_or(FormatError::Tail("it has no bootstrap"))??;
        let (array, header) = (entry(section::META).transpose()?, entry(section::META_HEADER).transpose()?);
        let meta = match (array, header) {
            (None, None) => None,
            (Some(array), Some(header)) if array.end() == header.offset && !header.is_zstd => Some((array, header)),
            _ => return Err(FormatError::Tail("its sections about chunks do not go together")),
        };
        Ok(Self { meta, bootstrap })
    }
}

/// The table of contents, without its tar header.
fn toc(tail: &[u8]) -> Result<&[u8], FormatError> {
    let wrong = FormatError::Tail("its last 512 bytes are not the header of a table of contents");
    let Some(split) = tail.len().checked_sub(TAR_HEADER_BYTES as usize) else { return Err(wrong) };
    let (before, header) = tail.split_at(split);
    let header = tar::Header::from_byte_slice(header);
    if *header.path_bytes() != *section::TOC.as_bytes() {
        return Err(wrong);
    }
    let size = header.entry_size().map_err(|_| FormatError::Tail("its table of contents has no length"))?;
    let start = usize::try_from(size).ok().and_then(|size| before.len().checked_sub(size));
    let start = start.ok_or(FormatError::Tail("its table of contents is too long"))?;
    if size % TOC_ENTRY_BYTES != 0 {
        return Err(FormatError::Tail("its table of contents has an impossible length"));
    }
    Ok(&before[start..])
}

fn name_of(entry: &[u8; TOC_ENTRY_BYTES as usize]) -> &[u8] {
    let name = &entry[8..24];
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

impl Section {
    fn parse(at: Bytes<'_>, blob_bytes: u64) -> Result<Self, FormatError> {
        let mut digest = [0; 32];
        digest.copy_from_slice(at.slice(WHAT, 24, 32)?);
        let section = Self {
            is_zstd: match at.u32(WHAT, 0)? {
                1 => false,
                2 => true,
                _ => return Err(FormatError::Tail("a section is compressed in a way that is not known")),
            },
            digest: Digest::from_bytes(digest),
            offset: at.u64(WHAT, 56)?,
            stored_bytes: at.u64(WHAT, 64)?,
            bytes: at.u64(WHAT, 72)?,
        };
        let end = section.offset.checked_add(section.stored_bytes);
        if end.is_none_or(|end| end > blob_bytes) || (!section.is_zstd && section.bytes != section.stored_bytes) {
            return Err(FormatError::Tail("a section lies beyond its end"));
        }
        if section.bytes > MOST_LAYER_BOOTSTRAP_BYTES {
            return Err(FormatError::Tail("a section is larger than 4 GiB"));
        }
        Ok(section)
    }

    const fn end(&self) -> u64 {
        self.offset + self.stored_bytes
    }

    /// Whether it holds what was written into `content`, by its digest.
    pub(crate) fn holds(&self, content: Hasher) -> bool {
        self.bytes == content.bytes() && self.digest == content.finish()
    }

    /// Reads the section from `blob`, which stands at its beginning, and leaves it at its end.
    pub(crate) fn read(&self, blob: &mut dyn Read) -> Result<Vec<u8>, FormatError> {
        let mut stored = blob.take(self.stored_bytes);
        let mut content = Vec::with_capacity(self.bytes.min(RESERVED_BYTES) as usize);
        if self.is_zstd {
            let decoder = zstd::Decoder::new(&mut stored).map_err(FormatError::from_io)?;
            // One byte more would be too many.
            decoder.take(self.bytes + 1).read_to_end(&mut content).map_err(told)?;
        } else {
            stored.read_to_end(&mut content).map_err(FormatError::from_io)?;
        }
        io::copy(&mut stored, &mut io::sink()).map_err(FormatError::from_io)?;
        let mut hasher = Hasher::default();
        hasher.update(&content);
        if content.len() as u64 != self.bytes || hasher.finish() != self.digest {
            return Err(FormatError::Tail("a section is not what its table of contents says"));
        }
        Ok(content)
    }
}

/// The decoder's own faults say something of the blob; others are the source's.
fn told(error: io::Error) -> FormatError {
    match error.downcast::<StreamError>() {
        Ok(error) => FormatError::Stream(error),
        Err(error) if error.kind() == io::ErrorKind::Other || error.kind() == io::ErrorKind::UnexpectedEof => {
            FormatError::Tail("a section cannot be decompressed")
        }
        Err(error) => FormatError::Stream(StreamError::Read(error)),
    }
}
