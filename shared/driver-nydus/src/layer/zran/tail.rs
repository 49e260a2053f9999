//! The sections of an index: those of any blob but for the chunks, and with spans and windows behind the array of chunks.

use std::io::Read;

use accel_driver::{BlobWriter, DriverError};
use accel_image::Hasher;

use super::back::InSpan;
use crate::bootstrap::{Blob, BlobTable, ChunkRef, Extra, Image, MetaPlace};
use crate::compressor::ZSTD_LEVEL;
use crate::layer::tail::{Stored, Toc, tar_header, write_bootstrap, write_digests};
use crate::layer::{ChunkPlace, meta};
use crate::names::section;
use crate::tree::Tree;
use crate::version::Version;
use crate::zran::{Arrays, ChunkInfo, IN_HEADER, MOST_WINDOW_BYTES, Span};

/// What the index holds beside what any blob does.
pub(super) struct Index<'i> {
    pub(super) in_span: &'i [InSpan],
    pub(super) spans: &'i [Span],
    /// The windows of all spans as a zstd frame; nothing if all are empty.
    pub(super) windows: &'i [u8],
}

/// Writes the whole blob.
pub(super) fn write(
    out: &mut BlobWriter<'_>,
    original: &mut Blob,
    index: &Index<'_>,
    tree: &Tree,
    refs: &[ChunkRef],
    chunk_bytes: u32,
) -> Result<(), DriverError> {
    let mut toc = Toc::default();
    let blobs = if original.chunks.is_empty() {
        BlobTable::default()
    } else {
        write_meta(out, original, index, &mut toc)?;
        write_digests(out, original, &mut toc)?;
        BlobTable::from(std::slice::from_ref(original))
    };
    let (compressor, version, extra) = (original.compressor, Version::V6, Extra::Layer);
    let image = Image { tree, refs, blobs, chunk_bytes, compressor, version, extra };
    write_bootstrap(out, &image, &mut toc)?;
    toc.write(out)
}

/// `blob.meta`: the array of chunks, the array of spans, windows; and the header. Two zstd frames, since windows were
/// compressed before it was known how many chunks there are.
fn write_meta(
    out: &mut BlobWriter<'_>,
    original: &mut Blob,
    index: &Index<'_>,
    toc: &mut Toc,
) -> Result<(), DriverError> {
    let chunks = original.chunks.iter().zip(index.in_span).map(|(chunk, place)| info(chunk, place).to_bytes());
    let spans = index.spans.iter().map(|span| span.to_bytes());
    let front: Vec<u8> = chunks.flatten().chain(spans.flatten()).collect();
    let arrays = Arrays {
        chunks: original.chunks.len() as u32,
        spans: index.spans.len() as u32,
        window_bytes: index.spans.last().map_or(0, |last| last.window + u64::from(last.window_bytes)),
    };
    let mut hashed = Hasher::default();
    hashed.update(&front);
    hash_windows(index.windows, &mut hashed)?;

    let offset = out.offset();
    out.write(&zstd::bulk::compress(&front, ZSTD_LEVEL).map_err(|_| DriverError::Codec)?)?;
    out.write(index.windows)?;
    let (how, stored_bytes, bytes) = (Stored::Zstd, out.offset() - offset, arrays.bytes());
    original.meta = MetaPlace { compressor: how.compressor(), offset, stored_bytes, bytes };
    toc.add(section::META, how, hashed.finish(), offset, stored_bytes, bytes);

    let mut header = meta::header(original);
    header[IN_HEADER..][..Arrays::HEADER_BYTES].copy_from_slice(&arrays.in_header());
    toc.add_raw(section::META_HEADER, &header, out.offset());
    out.write(&header)?;
    out.write(&tar_header(section::META, stored_bytes + header.len() as u64))
}

fn info(chunk: &ChunkPlace, place: &InSpan) -> ChunkInfo {
    ChunkInfo {
        block: chunk.block,
        bytes: chunk.bytes,
        offset: chunk.offset,
        stored_bytes: chunk.stored_bytes,
        span: place.span,
        at: place.at,
    }
}

/// Hashes what the frame `windows` holds, a little at a time.
fn hash_windows(windows: &[u8], hashed: &mut Hasher) -> Result<(), DriverError> {
    if windows.is_empty() {
        return Ok(());
    }
    let mut decoder = zstd::Decoder::with_buffer(windows).map_err(|_| DriverError::Codec)?;
    let mut piece = vec![0; MOST_WINDOW_BYTES];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => hashed.update(&piece[..count]),
            Err(_) => return Err(DriverError::Codec),
        }
    }
}
