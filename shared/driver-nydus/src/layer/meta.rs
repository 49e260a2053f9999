//! `blob.meta`: where each chunk lies, stored and uncompressed. Spec: nydus `storage/src/meta/chunk_info_v1.rs`, `mod.rs`.

use accel_image::Digest;

use crate::bootstrap::{BLOCK_BYTES, Blob, feature};

/// The length of the header.
const META_HEADER_BYTES: usize = 4096;
/// What the array holds for each chunk.
pub(crate) const CHUNK_META_BYTES: usize = 16;
const MAGIC: [u8; 4] = 0xb10b_b10b_u32.to_le_bytes();

/// A chunk and its places. 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    /// Of its uncompressed bytes.
    pub(crate) digest: Digest,
    /// Where it begins in the blob.
    pub(crate) offset: u64,
    /// How long it is in the blob; as long as uncompressed if it is stored as it is.
    pub(crate) stored_bytes: u32,
    /// How long it is uncompressed.
    pub(crate) bytes: u32,
    /// The 4 KiB block where it begins when all chunks are uncompressed.
    pub(crate) block: u32,
}

impl ChunkPlace {
    pub(crate) const fn is_compressed(&self) -> bool {
        self.stored_bytes != self.bytes
    }

    /// Two words of 20 and 4 bits of length less one and an offset.
    fn words(&self) -> [u64; 2] {
        let (bytes, stored) = (u64::from(self.bytes) - 1, u64::from(self.stored_bytes) - 1);
        let uncompressed = u64::from(self.block) * BLOCK_BYTES;
        [
            (bytes & 0xf_ffff) << 44 | (bytes & 0xf0_0000) >> 12 | uncompressed,
            (stored & 0xf_ffff) << 44 | (stored & 0xf0_0000) << 20 | self.offset,
        ]
    }
}

/// What the array of all chunks holds for each, uncompressed.
pub(crate) fn array(chunks: &[ChunkPlace]) -> impl Iterator<Item = [u8; CHUNK_META_BYTES]> {
    chunks.iter().map(|chunk| {
        let [first, second] = chunk.words();
        let mut bytes = [0; CHUNK_META_BYTES];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&second.to_le_bytes());
        bytes
    })
}

/// The header behind the array, which is the same in the blob and in an image.
pub(crate) fn header(blob: &Blob) -> [u8; META_HEADER_BYTES] {
    let mut header = [0; META_HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    let (features, place) = (blob.features | feature::INLINED_BOOTSTRAP, &blob.meta);
    for (at, word) in [features, place.compressor, blob.chunks.len() as u32].into_iter().enumerate() {
        header[4 + 4 * at..][..4].copy_from_slice(&word.to_le_bytes());
    }
    for (at, long) in [place.offset, place.stored_bytes, place.bytes].into_iter().enumerate() {
        header[16 + 8 * at..][..8].copy_from_slice(&long.to_le_bytes());
    }
    header[META_HEADER_BYTES - 4..].copy_from_slice(&MAGIC);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_offsets_share_words() {
        let chunk = ChunkPlace {
            digest: Digest::of(b""),
            offset: 0x12_3456_789a,
            stored_bytes: 0x30_0001,
            bytes: 0x40_0000,
            block: 0xffff_ffff,
        };
        assert_eq!(chunk.words(), [0xffff_ffff_ffff_f300 & !0xff | 0x300, 0x0000_0312_3456_789a]);
        let small = ChunkPlace { offset: 0, stored_bytes: 1, bytes: 2, block: 1, ..chunk };
        assert_eq!(small.words(), [1 << 44 | 4096, 0]);
    }
}
