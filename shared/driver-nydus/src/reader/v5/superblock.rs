//! What a bootstrap begins with.

use super::records::Records;
use crate::bootstrap::v5::{EXTENDED_BLOB_BYTES, LINKS_BELOW, MAGIC, MOST_BYTES, ROOT, SUPERBLOCK_BYTES, VERSION};
use crate::bootstrap::{LINKS_MAGIC, MOST_BLOBS, MOST_CHUNKS, MetaPlace, flag};
use crate::compressor::Compressor;
use crate::reader::bytes::Bytes;
use crate::reader::superblock::{Bootstrap, Layout, chunk_bytes, compressor};
use crate::reader::{Blob, FormatError, tables};

const WHAT: &str = "superblock";
const BLOBS: &str = "table of blobs";

/// Whether `bytes` begin as a bootstrap of RAFS v5 does.
pub(in crate::reader) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
}

/// Takes a bootstrap that begins so.
pub(in crate::reader) fn parse(bytes: Vec<u8>) -> Result<Bootstrap, FormatError> {
    let at = Bytes(&bytes);
    check(at)?;
    let flags = at.u64(WHAT, 16)?;
    let compressor = compressor(flags)?;
    if compressor == Compressor::Gzip {
        return Err(FormatError::Kind("its chunks are compressed in another way"));
    }
    let chunk_bytes = chunk_bytes(at.u32(WHAT, 12)?)?;
    let blobs = blobs(at, compressor)?;
    let prefetches = at.slice("prefetch table", at.u64(WHAT, 40)?, u64::from(at.u32(WHAT, 60)?) * 4)?.len() / 4;
    let links_below = match at.u64(WHAT, LINKS_BELOW)? {
        magic if magic == u64::from(LINKS_MAGIC) => (at.u64(WHAT, LINKS_BELOW + 8)?, at.u64(WHAT, LINKS_BELOW + 16)?),
        _ => (0, 0),
    };
    let records = Records::parse(at, (at.u64(WHAT, 32)?, at.u32(WHAT, 56)?), chunk_bytes, &blobs)?;
    Ok(Bootstrap {
        root: ROOT,
        inode_count: at.u64(WHAT, 24)?,
        layout: Layout::V5(records),
        chunk_bytes,
        compressor,
        sha256: flags & flag::SHA256 != 0,
        prefetches,
        blobs,
        links_below,
        bytes,
    })
}

fn check(at: Bytes<'_>) -> Result<(), FormatError> {
    if at.u32(WHAT, 4)? != VERSION {
        return Err(FormatError::Kind("its version is another than 5"));
    }
    if u64::from(at.u32(WHAT, 8)?) != SUPERBLOCK_BYTES || at.len() < SUPERBLOCK_BYTES {
        return Err(FormatError::Kind("its superblock has another length"));
    }
    if at.len() > MOST_BYTES {
        return Err(FormatError::Kind("it is larger than 1 GiB"));
    }
    Ok(())
}

/// The blobs: their names, and beside them what else is said of each.
fn blobs(at: Bytes<'_>, compressor: Compressor) -> Result<Vec<Blob>, FormatError> {
    let names = at.slice(BLOBS, at.u64(WHAT, 48)?, at.u32(WHAT, 64)?.into())?;
    let count = u64::from(at.u32(WHAT, 68)?);
    let entries = at.slice(BLOBS, at.u64(WHAT, 72)?, count * EXTENDED_BLOB_BYTES)?;
    let (entries, _) = entries.as_chunks::<{ EXTENDED_BLOB_BYTES as usize }>();
    let ids = Names(names).take(MOST_BLOBS + 1).collect::<Result<Vec<_>, _>>()?;
    if ids.len() != entries.len() || ids.len() > MOST_BLOBS {
        return Err(FormatError::part(BLOBS, "its length is wrong"));
    }
    let blobs = ids.into_iter().zip(entries).map(|(id, entry)| {
        let entry = Bytes(entry);
        let chunk_count = entry.u32(BLOBS, 0)?;
        if chunk_count > MOST_CHUNKS {
            return Err(FormatError::part(BLOBS, "a blob has too many chunks"));
        }
        Ok(Blob {
            id,
            chunk_count,
            compressed_size: entry.u64(BLOBS, 16)?,
            uncompressed_size: entry.u64(BLOBS, 8)?,
            compressor,
            features: entry.u32(BLOBS, 4)?,
            index: None,
            meta: MetaPlace::default(),
        })
    });
    tables::distinct(blobs.collect::<Result<_, _>>()?)
}

/// Names of blobs, each behind a range to fetch ahead, with a zero between two and zeros behind the last.
struct Names<'b>(&'b [u8]);

impl Iterator for Names<'_> {
    type Item = Result<accel_image::Digest, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.get(8..).filter(|name| !name.is_empty())?;
        let (name, rest) = match name.iter().position(|byte| *byte == 0) {
            Some(end) => (&name[..end], &name[end + 1..]),
            None => (name, &[][..]),
        };
        self.0 = rest;
        Some(tables::id(name).ok_or(FormatError::part(BLOBS, "a name is no digest")))
    }
}
