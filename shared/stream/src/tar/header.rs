//! One header block: its fields, its numbers, its checksum.
//!
//! Spec: POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format". The `tar` crate's codecs are not
//! used: they know no negative number, drop the high bytes of a large one and insist on one version of the magic.

use std::ops::Range;

use super::entry::Mtime;

/// Length of a block.
pub(super) const BLOCK_BYTES: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE_FLAG: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const DEV_MAJOR: Range<usize> = 329..337;
const DEV_MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const GNU_TIMES: [Range<usize>; 2] = [345..357, 357..369];
/// star keeps times behind a shorter prefix and marks the block at its end.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;
/// Whether an old GNU sparse map goes on: in the header block, and in each block that goes on with the map.
const GNU_SPARSE_GOES_ON: usize = 482;
const SPARSE_BLOCK_GOES_ON: usize = 504;

/// A header block with a right checksum, or a block of zeros.
#[derive(Clone, Copy)]
pub(super) struct Block([u8; BLOCK_BYTES]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Block {
    pub(super) const fn new(bytes: [u8; BLOCK_BYTES]) -> Self {
        Self(bytes)
    }

    pub(super) const fn bytes(&self) -> &[u8; BLOCK_BYTES] {
        &self.0
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; BLOCK_BYTES]
    }

    /// Whether the checksum field holds the sum of all bytes, itself taken for spaces. Old tars summed signed bytes.
    pub(super) fn checksum_fits(&self) -> bool {
        let Some(expected) = octal(&self.0[CHECKSUM]) else { return false };
        let spaces = CHECKSUM.len() as i64 * i64::from(b' ');
        let counted = || self.0[..CHECKSUM.start].iter().chain(&self.0[CHECKSUM.end..]);
        let unsigned = spaces + counted().map(|byte| i64::from(*byte)).sum::<i64>();
        expected == unsigned || expected == spaces + counted().map(|byte| i64::from(*byte as i8)).sum::<i64>()
    }

    pub(super) const fn type_flag(&self) -> u8 {
        self.0[TYPE_FLAG]
    }

    /// Puts the path into `path`, the prefix joined where the block has one.
    pub(super) fn copy_path(&self, path: &mut Vec<u8>) {
        let prefix = self.prefix();
        path.clear();
        if !prefix.is_empty() {
            path.extend_from_slice(prefix);
            path.push(b'/');
        }
        path.extend_from_slice(until_nul(&self.0[NAME]));
    }

    fn prefix(&self) -> &[u8] {
        match self.dialect() {
            Dialect::V7 => &[],
            Dialect::Ustar => until_nul(&self.0[PREFIX]),
            Dialect::Star => until_nul(&self.0[STAR_PREFIX]),
            Dialect::Gnu => self.prefix_of_old_go(),
        }
    }

    /// GNU keeps times where ustar has its prefix. Go before 1.8 wrote a prefix there all the same, old images hold
    /// such layers, and Go reads it to this day: a text in ASCII where a time should be.
    fn prefix_of_old_go(&self) -> &[u8] {
        let is_time = |field: Range<usize>| self.0[field.start] == 0 || number(&self.0[field]).is_some();
        let prefix = until_nul(&self.0[PREFIX]);
        if GNU_TIMES.into_iter().all(is_time) || !prefix.is_ascii() { &[] } else { prefix }
    }

    pub(super) fn link(&self) -> &[u8] {
        until_nul(&self.0[LINK])
    }

    pub(super) fn user(&self) -> &[u8] {
        if self.dialect() == Dialect::V7 { &[] } else { until_nul(&self.0[USER]) }
    }

    pub(super) fn group(&self) -> &[u8] {
        if self.dialect() == Dialect::V7 { &[] } else { until_nul(&self.0[GROUP]) }
    }

    pub(super) fn size(&self) -> Result<u64, &'static str> {
        self.unsigned(SIZE, "size")
    }

    pub(super) fn mode(&self) -> Result<u32, &'static str> {
        self.unsigned(MODE, "mode")
    }

    pub(super) fn uid(&self) -> Result<u64, &'static str> {
        self.unsigned(UID, "uid")
    }

    pub(super) fn gid(&self) -> Result<u64, &'static str> {
        self.unsigned(GID, "gid")
    }

    pub(super) fn mtime(&self) -> Result<Mtime, &'static str> {
        let seconds = number(&self.0[MTIME]).ok_or("mtime")?;
        Ok(Mtime { seconds, nanos: 0 })
    }

    pub(super) fn dev_major(&self) -> Result<u32, &'static str> {
        self.device(DEV_MAJOR, "device major number")
    }

    pub(super) fn dev_minor(&self) -> Result<u32, &'static str> {
        self.device(DEV_MINOR, "device minor number")
    }

    /// Whether an old GNU sparse map goes on in the next block.
    pub(super) fn has_sparse_blocks(&self) -> bool {
        self.dialect() == Dialect::Gnu && self.0[GNU_SPARSE_GOES_ON] != 0
    }

    fn device(&self, field: Range<usize>, name: &'static str) -> Result<u32, &'static str> {
        if self.dialect() == Dialect::V7 { Ok(0) } else { self.unsigned(field, name) }
    }

    fn unsigned<T: TryFrom<i64>>(&self, field: Range<usize>, name: &'static str) -> Result<T, &'static str> {
        number(&self.0[field]).and_then(|number| T::try_from(number).ok()).ok_or(name)
    }

    /// Told by the magic alone: writers differ in the version behind it.
    fn dialect(&self) -> Dialect {
        match &self.0[MAGIC] {
            b"ustar\0" if &self.0[STAR_TRAILER] == b"tar\0" => Dialect::Star,
            b"ustar\0" => Dialect::Ustar,
            b"ustar " => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }
}

/// Whether the old GNU sparse map goes on behind this block of it.
pub(super) fn sparse_block_goes_on(block: &[u8]) -> bool {
    block[SPARSE_BLOCK_GOES_ON] != 0
}

/// A text field up to its NUL, or all of it.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.iter().position(|byte| *byte == 0).map_or(field, |nul| &field[..nul])
}

/// A numeric field: octal digits, or base-256 where the top bit is set; `None` if neither fits 64 signed bits.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 == 0 { octal(field) } else { base_256(field) }
}

/// Octal digits among spaces and NULs; nothing at all is 0.
fn octal(field: &[u8]) -> Option<i64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte)).unwrap_or(field.len());
    let digits = until_nul(&field[start..]).trim_ascii_end();
    digits.iter().try_fold(0_i64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, big-endian, behind the marker bit.
fn base_256(field: &[u8]) -> Option<i64> {
    let first = field[0] & 0x7f;
    let sign = if first & 0x40 == 0 { 0 } else { -1 };
    let first = if sign == 0 { i128::from(first) } else { i128::from(first) - 0x80 };
    // Twelve bytes at most: 95 bits fit.
    let number = field[1..].iter().fold(first, |number, byte| number << 8 | i128::from(*byte));
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_go_does() {
        let rows: [(&[u8], Option<i64>); 21] = [
            (b"0000644\0", Some(0o644)),
            (b" 644 \0\0\0", Some(0o644)),
            (b"\x00\x00644\0\0\0", Some(0o644)),
            (b"644\0junk", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0000648\0", None),
            (b"+000644\0", None),
            (b"-000644\0", None),
            (b"6 4 4\0\0\0", None),
            (b"0x1f\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\x05", Some(5)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, expected) in rows {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn accepts_signed_and_unsigned_checksums() {
        let mut block = [0; BLOCK_BYTES];
        block[..4].copy_from_slice(b"\xfe\xffab");
        let unsigned = 0xfe + 0xff + i64::from(b'a') + i64::from(b'b') + 8 * i64::from(b' ');
        for (sum, fits) in [(unsigned, true), (unsigned - 512, true), (unsigned + 1, false), (0, false)] {
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(Block::new(block).checksum_fits(), fits, "{sum}");
        }
        block[CHECKSUM].copy_from_slice(b"not octa");
        assert!(!Block::new(block).checksum_fits());
    }
}
