//! Which compression a blob has, told from its content: media types lie.

use std::fmt;

/// Bytes of a blob that [`sniff`] wants to see.
pub(crate) const SNIFF_BYTES: usize = 4;

/// Start of a gzip member with deflate, the only method there is. Spec: RFC 1952, 2.3.1.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Start of a zstd frame. Spec: RFC 8878, 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes 1 to 3 of a skippable frame, whose byte 0 is 0x50 to 0x5f. Spec: RFC 8878, 3.1.2.
const ZSTD_SKIPPABLE_TAIL: [u8; 3] = [0x2a, 0x4d, 0x18];

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// One gzip member or several.
    Gzip,
    /// One zstd frame or several, skippable ones among them.
    Zstd,
    /// Nothing that we know: taken for a bare tar.
    Plain,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Plain => "plain",
        })
    }
}

/// Tells the compression of a blob from its first bytes; four are enough.
#[must_use]
pub fn sniff(start: &[u8]) -> Compression {
    if start.starts_with(&GZIP_MAGIC) {
        Compression::Gzip
    } else if is_zstd_frame(start) {
        Compression::Zstd
    } else {
        Compression::Plain
    }
}

/// Whether `start` begins with the magic number of a zstd frame, ordinary or skippable.
pub(crate) fn is_zstd_frame(start: &[u8]) -> bool {
    start.starts_with(&ZSTD_MAGIC) || is_skippable_frame(start)
}

/// Whether `start` begins with the magic number of a skippable zstd frame.
pub(crate) fn is_skippable_frame(start: &[u8]) -> bool {
    start.first().is_some_and(|first| first & 0xf0 == 0x50) && start[1..].starts_with(&ZSTD_SKIPPABLE_TAIL)
}

/// The compression whose magic number breaks off at the end of `whole`, all there is of a blob.
/// No tar is that short, so such a blob is a truncated one.
pub(crate) fn broken_magic(whole: &[u8]) -> Option<Compression> {
    if whole.is_empty() {
        None
    } else if whole.len() < GZIP_MAGIC.len() && GZIP_MAGIC.starts_with(whole) {
        Some(Compression::Gzip)
    } else if breaks_off_in_zstd_magic(whole) {
        Some(Compression::Zstd)
    } else {
        None
    }
}

/// Whether `rest`, all there is left, is a zstd magic number cut short.
pub(crate) fn breaks_off_in_zstd_magic(rest: &[u8]) -> bool {
    let Some((first, tail)) = rest.split_first() else { return false };
    rest.len() < ZSTD_MAGIC.len()
        && (ZSTD_MAGIC.starts_with(rest) || (first & 0xf0 == 0x50 && ZSTD_SKIPPABLE_TAIL.starts_with(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_compressions_by_content() {
        let rows: [(&[u8], Compression); 10] = [
            (b"\x1f\x8b\x08\x00", Compression::Gzip),
            (b"\x1f\x8b\x07\x00", Compression::Plain),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x50\x2a\x4d\x18", Compression::Zstd),
            (b"\x5f\x2a\x4d\x18", Compression::Zstd),
            (b"\x60\x2a\x4d\x18", Compression::Plain),
            (b"\x28\xb5\x2f", Compression::Plain),
            (b"etc/", Compression::Plain),
            (b"P", Compression::Plain),
            (b"", Compression::Plain),
        ];
        for (start, expected) in rows {
            assert_eq!(sniff(start), expected, "{start:x?}");
        }
    }

    #[test]
    fn tells_a_magic_number_that_breaks_off() {
        assert_eq!(broken_magic(b"\x1f\x8b"), Some(Compression::Gzip));
        assert_eq!(broken_magic(b"\x28"), Some(Compression::Zstd));
        assert_eq!(broken_magic(b"\x53\x2a"), Some(Compression::Zstd));
        for whole in [&b""[..], b"\x1f\x8b\x08", b"ab", b"\x28\xb5\x2f\xfd"] {
            assert_eq!(broken_magic(whole), None, "{whole:x?}");
        }
    }
}
