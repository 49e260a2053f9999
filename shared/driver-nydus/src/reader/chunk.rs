//! The bytes of chunks and batches.

use std::borrow::Cow;

use accel_image::Digest;

use super::fault::FormatError;
use super::tables::ChunkRef;
use crate::compressor::Compressor;
use crate::layer::InBatch;

/// What a byte of an LZ4 block becomes at the most.
const LZ4_RATIO: usize = 255;

/// Whether `stored`, the bytes of a blob where `chunk` says, decompress to what it says.
///
/// # Errors
/// [`FormatError::Chunk`].
pub fn check_chunk(compressor: Compressor, stored: &[u8], chunk: &ChunkRef) -> Result<(), FormatError> {
    let fault = |reason| FormatError::Chunk { offset: chunk.compressed_offset, reason };
    if stored.len() != chunk.compressed_size as usize {
        return Err(fault("it has another length"));
    }
    let size = chunk.uncompressed_size as usize;
    let digest = if stored.len() == size {
        Digest::of(stored)
    } else {
        let content = decompress(compressor, stored, size).ok_or_else(|| fault("it cannot be decompressed"))?;
        Digest::of(&content)
    };
    if digest == chunk.digest { Ok(()) } else { Err(fault("it has another digest")) }
}

/// The content of the batch that `chunk` is in, at most `most` bytes; `stored` are the bytes of a blob where it says.
///
/// # Errors
/// [`FormatError::Chunk`].
pub fn uncompressed_batch<'s>(
    compressor: Compressor,
    stored: &'s [u8],
    chunk: &ChunkRef,
    most: usize,
) -> Result<Cow<'s, [u8]>, FormatError> {
    let fault = |reason| FormatError::Chunk { offset: chunk.compressed_offset, reason };
    if stored.len() != chunk.compressed_size as usize || stored.len() > most {
        return Err(fault("its batch has another length"));
    }
    if !chunk.batch.is_some_and(InBatch::is_compressed) {
        return Ok(stored.into());
    }
    let content = decompress_up_to(compressor, stored, most);
    content.map(Cow::from).ok_or_else(|| fault("its batch cannot be decompressed"))
}

/// Whether `batch`, an uncompressed batch, has `chunk` where it says.
///
/// # Errors
/// [`FormatError::Chunk`].
pub fn check_chunk_of_batch(batch: &[u8], chunk: &ChunkRef) -> Result<(), FormatError> {
    let fault = |reason| FormatError::Chunk { offset: chunk.compressed_offset, reason };
    let begin = chunk.batch.map_or(0, InBatch::offset) as usize;
    let content = batch.get(begin..).and_then(|rest| rest.get(..chunk.uncompressed_size as usize));
    match content {
        None => Err(fault("it ends beyond its batch")),
        Some(content) if Digest::of(content) == chunk.digest => Ok(()),
        Some(_) => Err(fault("it has another digest")),
    }
}

/// The `size` bytes that `stored` decompresses to.
fn decompress(compressor: Compressor, stored: &[u8], size: usize) -> Option<Vec<u8>> {
    decompress_up_to(compressor, stored, size).filter(|content| content.len() == size)
}

/// The bytes that `stored` decompresses to, if they are at most `most`.
fn decompress_up_to(compressor: Compressor, stored: &[u8], most: usize) -> Option<Vec<u8>> {
    match compressor {
        // A chunk of an original layer comes out of a span of it.
        Compressor::None | Compressor::Gzip => None,
        Compressor::Lz4Block => {
            let mut content = vec![0; most.min(stored.len().saturating_mul(LZ4_RATIO))];
            let filled = lz4_flex::block::decompress_into(stored, &mut content).ok()?;
            content.truncate(filled);
            Some(content)
        }
        Compressor::Zstd => zstd::bulk::decompress(stored, most).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lz4_block_passes_its_bound() {
        for bytes in [1, 14, 300, 4096, 1 << 20, 16 << 20] {
            let zeros = vec![0; bytes];
            let stored = lz4_flex::block::compress(&zeros);
            assert!(decompress_up_to(Compressor::Lz4Block, &stored, 16 << 20).is_some_and(|content| content == zeros));
            assert_eq!(decompress_up_to(Compressor::Lz4Block, &stored, bytes - 1), None);
        }
    }
}
