//! The 512 bytes before each entry. Spec: POSIX.1-2017, pax, "ustar Interchange Format".

use super::Format;

/// One header block.
pub(super) struct Block([u8; Block::BYTES]);

impl Block {
    /// The unit of a tar.
    pub(super) const BYTES: usize = 512;

    pub(super) fn new(format: Format, typeflag: u8) -> Self {
        let mut block = Self([0; Self::BYTES]);
        block.put(156, &[typeflag]);
        block.put(257, if format == Format::Gnu { b"ustar  \0" } else { b"ustar\x0000" });
        block
    }

    /// Writes a field at its offset.
    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The block with its checksum.
    pub(super) fn finish(mut self) -> [u8; Self::BYTES] {
        self.put(148, &[b' '; 8]);
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// Octal digits and a final NUL.
///
/// # Panics
/// The number has more digits than fit.
pub(super) fn octal<const N: usize>(number: u64) -> [u8; N] {
    let text = format!("{number:0width$o}\0", width = N - 1);
    text.as_bytes().try_into().unwrap_or_else(|_| panic!("{number} does not fit into {N} octal digits"))
}

/// Whether [`octal`] can hold the number.
pub(super) const fn fits_octal(number: i64, digits: u32) -> bool {
    number >= 0 && number < 1 << (3 * digits)
}

/// GNU's binary numbers: two's complement with the top bit set.
pub(super) fn base256<const N: usize>(number: i64) -> [u8; N] {
    let fill = if number < 0 { 0xff } else { 0 };
    let mut bytes = [fill; N];
    let tail = number.to_be_bytes();
    let count = tail.len().min(N);
    bytes[N - count..].copy_from_slice(&tail[tail.len() - count..]);
    bytes[0] |= 0x80;
    bytes
}
