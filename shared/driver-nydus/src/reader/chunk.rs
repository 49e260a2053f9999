//! The bytes of one chunk.

use accel_image::Digest;

use super::fault::FormatError;
use super::tables::ChunkRef;
use crate::compressor::Compressor;

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

/// The `size` bytes that `stored` decompresses to.
fn decompress(compressor: Compressor, stored: &[u8], size: usize) -> Option<Vec<u8>> {
    let content = match compressor {
        Compressor::None => return None,
        Compressor::Lz4Block => {
            let mut content = vec![0; size];
            let filled = lz4_flex::block::decompress_into(stored, &mut content).ok()?;
            content.truncate(filled);
            content
        }
        Compressor::Zstd => zstd::bulk::decompress(stored, size).ok()?,
    };
    (content.len() == size).then_some(content)
}
