//! The footer, read. Spec: eStargz, "Footer"; the legacy one is that of plain stargz.

use crate::layout::{FOOTER_BYTES, footer};
use crate::reader::FormatError;

/// How long the footer of a blob of the older stargz format is.
pub const LEGACY_FOOTER_BYTES: usize = 47;

/// Finds the TOC from `tail`, the last [`FOOTER_BYTES`] of a blob of `blob_bytes`. Returns the offset of its member
/// and of the footer, in bytes from the start of the blob, the first below the second.
///
/// # Errors
/// [`FormatError::Footer`].
pub fn toc_offset(tail: &[u8], blob_bytes: u64) -> Result<(u64, u64), FormatError> {
    let fail = |reason| Err(FormatError::Footer(reason));
    if tail.len() != FOOTER_BYTES || blob_bytes < FOOTER_BYTES as u64 {
        return fail("the blob is shorter than a footer");
    }
    let legacy = &tail[FOOTER_BYTES - LEGACY_FOOTER_BYTES..];
    let (digits, footer_bytes) = if tail.starts_with(&[0x1f, 0x8b]) && &tail[32..38] == b"STARGZ" {
        (&tail[16..32], FOOTER_BYTES)
    } else if legacy.starts_with(&[0x1f, 0x8b]) && &legacy[28..34] == b"STARGZ" {
        (&legacy[12..28], LEGACY_FOOTER_BYTES)
    } else {
        return fail("its magic is not there");
    };
    let Some(toc) = hexadecimal(digits) else { return fail("the offset is not hexadecimal") };
    let at = blob_bytes - footer_bytes as u64;
    if toc >= at {
        return fail("the offset lies behind the TOC");
    }
    let whole = if footer_bytes == FOOTER_BYTES { tail == footer(toc) } else { legacy == legacy_footer(toc) };
    if whole { Ok((toc, at)) } else { fail("it is not the empty gzip member that it must be") }
}

/// Sixteen lowercase digits.
fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(lower))?;
    u64::from_str_radix(text, 16).ok()
}

fn legacy_footer(toc: u64) -> [u8; LEGACY_FOOTER_BYTES] {
    let mut footer = [0; LEGACY_FOOTER_BYTES];
    footer[..12].copy_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 22, 0]);
    footer[12..34].copy_from_slice(format!("{toc:016x}STARGZ").as_bytes());
    footer[34..39].copy_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_toc_from_both_footers() {
        for offset in [0, 1, 0xabc_def0, (1 << 40) - 1] {
            assert_eq!(toc_offset(&footer(offset), 1 << 40 | 51).unwrap(), (offset, 1 << 40));
            let tail = [&[7; 4][..], &legacy_footer(offset)].concat();
            assert_eq!(toc_offset(&tail, 1 << 40 | 47).unwrap(), (offset, 1 << 40));
        }
    }

    #[test]
    fn refuses_what_is_no_footer() {
        let good = footer(1000);
        let changed = |at: usize, byte: u8| {
            let mut tail = good;
            tail[at] = byte;
            tail.to_vec()
        };
        let rows: [(Vec<u8>, u64, &str); 9] = [
            (vec![], 5000, "shorter"),
            (good[1..].to_vec(), 5000, "shorter"),
            (good.to_vec(), 50, "shorter"),
            (vec![0; 51], 5000, "magic"),
            (changed(0, 0), 5000, "magic"),
            (changed(37, b'z'), 5000, "magic"),
            (changed(31, b'G'), 5000, "hexadecimal"),
            (changed(31, b'A'), 5000, "hexadecimal"),
            (good.to_vec(), 1051, "behind"),
        ];
        for (tail, blob_bytes, expected) in rows {
            let error = toc_offset(&tail, blob_bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for at in [2, 3, 4, 9, 10, 11, 12, 14, 15, 38, 39, 42, 43, 50] {
            let error = toc_offset(&changed(at, 0x55), 5000).unwrap_err().to_string();
            assert!(error.contains("empty gzip member"), "byte {at}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in prop::collection::vec(any::<u8>(), 0..60), blob_bytes: u64) {
            prop_assert!(toc_offset(&tail, blob_bytes).is_err());
        }
    }
}
