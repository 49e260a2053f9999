//! Compressed bytes, the same every time.

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// One gzip member, without time and name.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).expect("writing to memory works");
    encoder.finish().expect("writing to memory works")
}

/// A gzip member for each part.
#[must_use]
pub fn gzip_members(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| gzip(part)).collect()
}

/// One zstd frame.
#[must_use]
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("compressing into memory works")
}

/// What `bytes` unpack to: gzip of any number of members, zstd of any number of frames, or as they are.
///
/// # Errors
/// They begin like gzip or zstd and do not go on like it.
pub fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    if bytes.starts_with(GZIP_MAGIC) {
        MultiGzDecoder::new(bytes).read_to_end(&mut unpacked)?;
    } else if bytes.starts_with(ZSTD_MAGIC) {
        zstd::stream::copy_decode(bytes, &mut unpacked)?;
    } else {
        unpacked.extend_from_slice(bytes);
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_what_it_packed() {
        for packed in [gzip(b"ab"), gzip_members(&[b"a", b"", b"b"]), zstd(b"ab"), [zstd(b"a"), zstd(b"b")].concat()] {
            assert_eq!(unpack(&packed).unwrap(), b"ab");
        }
        assert_eq!(unpack(b"ab").unwrap(), b"ab");
        assert!(unpack(&gzip(b"ab")[..20]).is_err());
    }
}
