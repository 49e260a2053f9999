//! What an index into a gzip says, byte for byte: where chunks lie, and where inflating can begin. Spec: nydus
//! `storage/src/meta/chunk_info_v2.rs`, `zran.rs`.
//!
//! The gzip is cut into *spans*, each inflated alone. A span begins at a place where inflating can begin, takes so many bytes
//! of the gzip, yields so many bytes of the tar, and some chunks lie in what it yields.

use accel_stream::InflatePoint;

/// What the array of chunks holds for each.
pub(crate) const CHUNK_BYTES: usize = 24;
/// What the array of spans holds for each.
pub(crate) const SPAN_BYTES: usize = 40;
/// What nydusd inflates of a span at the very most.
pub(crate) const MOST_OUTPUT_BYTES: u64 = 16 << 20;
/// What a span takes of the gzip at the very most: more than any encoder makes of so much output.
pub(crate) const MOST_INPUT_BYTES: u64 = 32 << 20;
/// Where the header of `blob.meta` says where spans are.
pub(crate) const IN_HEADER: usize = 40;
/// What deflate data refer back to at the most.
pub(crate) const MOST_WINDOW_BYTES: usize = 32 << 10;

/// The longest part of a gzip that can be said of a chunk: 24 bits.
const MOST_STORED_BYTES: u32 = 0xff_ffff;
/// Flags of a chunk: it is compressed, and lies in a span.
const CHUNK_FLAGS: u64 = 3 << 56;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkInfo {
    /// Its first block when all chunks are uncompressed.
    pub(crate) block: u32,
    pub(crate) bytes: u32,
    /// About where it begins in the gzip, and how long it is there.
    pub(crate) offset: u64,
    pub(crate) stored_bytes: u32,
    /// The span that it lies in.
    pub(crate) span: u32,
    /// Where it begins in what that yields.
    pub(crate) at: u32,
}

impl ChunkInfo {
    pub(crate) fn to_bytes(self) -> [u8; CHUNK_BYTES] {
        let words = [
            u64::from(self.block) | u64::from(self.bytes - 1) << 32 | CHUNK_FLAGS,
            self.offset | u64::from(self.stored_bytes) << 40,
            u64::from(self.at) | u64::from(self.span) << 32,
        ];
        let mut bytes = [0; CHUNK_BYTES];
        for (at, word) in words.into_iter().enumerate() {
            bytes[8 * at..][..8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` if it is a chunk of another kind.
    pub(crate) fn parse(bytes: &[u8; CHUNK_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * at..][..8]);
            u64::from_le_bytes(word)
        };
        let [uncompressed, compressed, place] = [0, 1, 2].map(word);
        (uncompressed >> 56 == CHUNK_FLAGS >> 56).then(|| Self {
            block: uncompressed as u32,
            bytes: (uncompressed >> 32 & 0xff_ffff) as u32 + 1,
            offset: compressed & 0xff_ffff_ffff,
            stored_bytes: (compressed >> 40) as u32,
            span: (place >> 32) as u32,
            at: place as u32,
        })
    }

    /// A length in the gzip as far as it can be said.
    pub(crate) fn stored(bytes: u64) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(MOST_STORED_BYTES)
    }
}

/// What `blob.meta` holds: chunks, spans, windows, one behind the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrays {
    pub(crate) chunks: u32,
    pub(crate) spans: u32,
    pub(crate) window_bytes: u64,
}

impl Arrays {
    /// The length of [`Arrays::in_header`].
    pub(crate) const HEADER_BYTES: usize = 20;

    /// What the header says at [`IN_HEADER`]: where spans begin, how long they are with their windows, and their number.
    pub(crate) fn in_header(self) -> [u8; Self::HEADER_BYTES] {
        let begin = u64::from(self.chunks) * CHUNK_BYTES as u64;
        let mut bytes = [0; Self::HEADER_BYTES];
        bytes[..8].copy_from_slice(&begin.to_le_bytes());
        bytes[8..16].copy_from_slice(&(self.bytes() - begin).to_le_bytes());
        bytes[16..].copy_from_slice(&self.spans.to_le_bytes());
        bytes
    }

    /// The length of all three.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.chunks) * CHUNK_BYTES as u64 + u64::from(self.spans) * SPAN_BYTES as u64 + self.window_bytes
    }
}

/// A span, without its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where its input begins in the gzip, and how long that is.
    pub(crate) input: u64,
    pub(crate) input_bytes: u32,
    /// Where its output begins in the tar, and how long that is.
    pub(crate) output: u64,
    pub(crate) output_bytes: u32,
    /// Where its window begins among all windows, and how long that is.
    pub(crate) window: u64,
    pub(crate) window_bytes: u32,
    /// How many bits of the byte before the input belong to it, and those bits.
    pub(crate) bits: u8,
    pub(crate) byte: u8,
}

impl Span {
    pub(crate) fn to_bytes(self) -> [u8; SPAN_BYTES] {
        let mut bytes = [0; SPAN_BYTES];
        for (at, long) in [self.input, self.output, self.window].into_iter().enumerate() {
            bytes[8 * at..][..8].copy_from_slice(&long.to_le_bytes());
        }
        for (at, word) in [self.input_bytes, self.output_bytes, self.window_bytes].into_iter().enumerate() {
            bytes[24 + 4 * at..][..4].copy_from_slice(&word.to_le_bytes());
        }
        (bytes[36], bytes[37]) = (self.byte, self.bits);
        bytes
    }

    pub(crate) fn parse(bytes: &[u8; SPAN_BYTES]) -> Self {
        let long = |at: usize| {
            let mut long = [0; 8];
            long.copy_from_slice(&bytes[at..][..8]);
            u64::from_le_bytes(long)
        };
        let word = |at: usize| long(at) as u32;
        Self {
            input: long(0),
            output: long(8),
            window: long(16),
            input_bytes: word(24),
            output_bytes: word(28),
            window_bytes: word(32),
            byte: bytes[36],
            bits: bytes[37],
        }
    }

    /// Where inflating begins.
    pub(crate) fn point(&self, window: Box<[u8]>) -> InflatePoint {
        InflatePoint { input: self.input, bits: self.bits, byte: self.byte, output: self.output, window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_as_it_was_written() {
        let chunk = ChunkInfo {
            block: 0xffff_fffe,
            bytes: 4 << 20,
            offset: 0x12_3456_789a,
            stored_bytes: 0xff_ffff,
            span: 70_000,
            at: 15 << 20,
        };
        let bytes = chunk.to_bytes();
        assert_eq!(bytes[..8], [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 3]);
        assert_eq!(bytes[8..16], [0x9a, 0x78, 0x56, 0x34, 0x12, 0xff, 0xff, 0xff]);
        assert_eq!(ChunkInfo::parse(&bytes), Some(chunk));
        let other = ChunkInfo { bytes: 1, stored_bytes: 0, ..chunk };
        assert_eq!(ChunkInfo::parse(&other.to_bytes()), Some(other));
        let mut batch = bytes;
        batch[7] |= 4;
        assert_eq!(ChunkInfo::parse(&batch), None);
        assert_eq!((ChunkInfo::stored(5), ChunkInfo::stored(1 << 40)), (5, 0xff_ffff));
    }

    #[test]
    fn a_span_comes_back_as_it_was_written() {
        let span = Span {
            input: 1 << 33,
            input_bytes: 2,
            output: 3 << 40,
            output_bytes: 4,
            window: 5,
            window_bytes: 6,
            bits: 7,
            byte: 0xfe,
        };
        let bytes = span.to_bytes();
        assert_eq!(bytes[32..], [6, 0, 0, 0, 0xfe, 7, 0, 0]);
        assert_eq!(Span::parse(&bytes), span);
    }
}
