//! How chunks and batches of chunks are stored in a blob, and whether the bytes are those that a bootstrap names.

use accel_driver_nydus::reader::{
    Bootstrap, ChunkRef, Compressor, FormatError, InBatch, check_chunk, check_chunk_of_batch, uncompressed_batch,
};

/// How the chunks of an image are stored.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    compressor: Compressor,
    /// The longest batch: as long as a chunk.
    most: usize,
}

impl Stored {
    pub(super) const fn new(compressor: Compressor, most: usize) -> Self {
        Self { compressor, most }
    }

    /// As `bootstrap` says.
    pub(super) fn of(bootstrap: &Bootstrap) -> Self {
        Self::new(bootstrap.compressor(), bootstrap.chunk_size() as usize) // at most 16 MiB
    }

    /// Whether a chunk, or all chunks of a batch, say a length that can be.
    pub(super) fn check_length(self, piece: &[ChunkRef]) -> Result<(), String> {
        let [first, others @ ..] = piece else { return Ok(()) };
        let (offset, size) = (first.compressed_offset, first.compressed_size);
        let longest = match first.batch {
            Some(_) => self.most as u64,
            None => longest(self.compressor, first.uncompressed_size.into()),
        };
        if u64::from(size) > longest {
            return Err(format!("its chunk at {offset} has {size} bytes, more than {longest}"));
        }
        let said = |chunk: &ChunkRef| (chunk.compressed_size, chunk.batch.map(InBatch::is_compressed));
        if others.iter().any(|other| said(other) != said(first)) {
            return Err(format!("its chunks at {offset} say different things of their batch"));
        }
        if piece.windows(2).any(|pair| end_in_batch(&pair[0]) > begin_in_batch(&pair[1])) {
            return Err(format!("its chunks at {offset} lie in each other in their batch"));
        }
        Ok(())
    }

    /// Shows what is wrong with a chunk, or with the chunks of a batch, which is decompressed once, in words; `bytes` are there.
    /// Returns how many bytes they became; nothing if that is not known, of a batch that cannot be decompressed.
    pub(super) fn check(self, bytes: &[u8], piece: &[ChunkRef], wrong: &mut dyn FnMut(String)) -> Option<u64> {
        let [first, ..] = piece else { return Some(0) };
        let mut note = |checked: Result<(), FormatError>| {
            if let Err(fault) = checked {
                wrong(format!("its chunk at {}: {fault}", first.compressed_offset));
            }
        };
        if first.batch.is_none() {
            note(check_chunk(self.compressor, bytes, first));
            return Some(first.uncompressed_size.into());
        }
        match uncompressed_batch(self.compressor, bytes, first, self.most) {
            Ok(batch) => {
                piece.iter().for_each(|chunk| note(check_chunk_of_batch(&batch, chunk)));
                Some(batch.len() as u64)
            }
            Err(fault) => {
                note(Err(fault));
                None
            }
        }
    }
}

fn begin_in_batch(chunk: &ChunkRef) -> u64 {
    chunk.batch.map_or(0, InBatch::offset).into()
}

fn end_in_batch(chunk: &ChunkRef) -> u64 {
    begin_in_batch(chunk) + u64::from(chunk.uncompressed_size)
}

/// What `bytes` may become at most: by the bounds of LZ4 and of zstd, the greater for each part.
const fn longest(compressor: Compressor, bytes: u64) -> u64 {
    match compressor {
        Compressor::None | Compressor::Gzip => bytes,
        Compressor::Lz4Block | Compressor::Zstd => bytes + bytes / 255 + 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_compressor_passes_its_bound() {
        let noise = accel_test_support::noise(4 << 20, 1);
        for bytes in [0, 1, 100, 4096, 128 << 10, 4 << 20] {
            let zstd = accel_test_support::compress::zstd(&noise[..bytes]).len() as u64;
            assert!(zstd <= longest(Compressor::Zstd, bytes as u64), "{bytes}: {zstd}");
            let lz4 = lz4_flex::block::compress(&noise[..bytes]).len() as u64;
            assert!(lz4 <= longest(Compressor::Lz4Block, bytes as u64), "{bytes}: {lz4}");
            assert!(bytes == 0 || lz4 > bytes as u64, "{bytes}: noise does not shrink, so this is near the bound");
        }
    }
}
