//! Blobs of Nydus that lie: their sections are what a test wants, and the digests of these are right.

use std::io::Read as _;
use std::ops::Range;

use accel_image::Digest;

use crate::tar::{file, tar};

const HEADER_BYTES: usize = 512;
const ENTRY_BYTES: usize = 128;
/// What the bootstrap of a layer of RAFS v5 ends with.
const V5_DIGEST_BYTES: usize = 32;
/// A section that unpacks to more stays as it is.
const MOST_BYTES: u64 = 64 << 20;

/// A blob of nothing but this bootstrap.
#[must_use]
pub fn blob_with(boot: &[u8]) -> Vec<u8> {
    let size = (boot.len() as u64).to_le_bytes();
    let mut toc = [&[1, 0, 0, 0, 0, 0, 0, 0][..], b"image.boot\0\0\0\0\0\0", Digest::of(boot).as_bytes()].concat();
    toc.extend([[0; 8], size, size].concat());
    toc.resize(ENTRY_BYTES, 0);
    [boot, &header("image.boot", boot.len()), &toc, &header("rafs.blob.toc", ENTRY_BYTES)].concat()
}

/// A blob of RAFS v5 of nothing but this bootstrap, behind which is its digest.
#[must_use]
pub fn v5_blob_with(boot: &[u8]) -> Vec<u8> {
    let bytes = boot.len() + V5_DIGEST_BYTES;
    [boot, Digest::of(boot).as_bytes(), &header("image.boot", bytes)].concat()
}

fn header(name: &str, size: usize) -> Vec<u8> {
    let mut header = tar(&[file(name, b"").size_field(size as u64)]);
    header.truncate(HEADER_BYTES);
    header
}

/// Where the entry of section `name` lies in the table of contents of `blob`: flags (4 bytes), at 8 the name (16), at 24 the
/// digest (32), at 56 offset, stored length and length (8 each).
#[must_use]
pub fn toc_entry(blob: &[u8], name: &str) -> Option<Range<usize>> {
    entries(blob).find(|entry| blob[entry.clone()][8..24].split(|byte| *byte == 0).next() == Some(name.as_bytes()))
}

/// Whether a blob ends as one of RAFS v5 does: with a bootstrap, not with a table of contents.
#[must_use]
pub fn ends_as_v5(blob: &[u8]) -> bool {
    blob.last_chunk::<HEADER_BYTES>().is_some_and(|header| header.starts_with(b"image.boot\0"))
}

/// Sets the digest of each section that lies in `blob` and can be unpacked; of RAFS v5 that of the bootstrap.
pub fn reseal(blob: &mut [u8]) {
    if ends_as_v5(blob) {
        return reseal_v5(blob);
    }
    for entry in entries(blob).collect::<Vec<_>>() {
        if let Some(digest) = digest(blob, &blob[entry.clone()]) {
            blob[entry][24..56].copy_from_slice(digest.as_bytes());
        }
    }
}

fn reseal_v5(blob: &mut [u8]) {
    let section = last_section(blob);
    if let Some((boot, digest)) = blob[section].split_last_chunk_mut::<V5_DIGEST_BYTES>() {
        digest.copy_from_slice(Digest::of(boot).as_bytes());
    }
}

/// Where the section lies that the last header names; nothing if it cannot lie there.
fn last_section(blob: &[u8]) -> Range<usize> {
    let end = blob.len().saturating_sub(HEADER_BYTES);
    let octal = blob.get(end + 124..end + 135).and_then(|field| std::str::from_utf8(field).ok());
    let bytes = octal.and_then(|octal| usize::from_str_radix(octal, 8).ok()).filter(|bytes| *bytes <= end);
    end - bytes.unwrap_or(0)..end
}

fn entries(blob: &[u8]) -> impl Iterator<Item = Range<usize>> + use<> {
    let Range { start, end } = last_section(blob);
    (start..end).step_by(ENTRY_BYTES).map(|at| at..at + ENTRY_BYTES).filter(move |entry| entry.end <= end)
}

fn digest(blob: &[u8], entry: &[u8]) -> Option<Digest> {
    let number = |at: usize| Some(u64::from_le_bytes(entry[at..at + 8].try_into().ok()?));
    let (start, len) = (usize::try_from(number(56)?).ok()?, usize::try_from(number(64)?).ok()?);
    let stored = blob.get(start..start.checked_add(len)?)?;
    if entry[0] != 2 {
        return Some(Digest::of(stored));
    }
    let mut content = Vec::new();
    zstd::Decoder::new(stored).ok()?.take(MOST_BYTES).read_to_end(&mut content).ok()?;
    Some(Digest::of(&content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_set_again_and_nothing_of_no_form_is_a_panic() {
        let mut blob = blob_with(b"boot");
        let sealed = blob.clone();
        let entry = toc_entry(&blob, "image.boot").unwrap();
        assert_eq!((entry.len(), toc_entry(&blob, "image.blob")), (ENTRY_BYTES, None));
        blob[entry.start + 30] ^= 1;
        reseal(&mut blob);
        assert_eq!(blob, sealed);
        for mut other in [Vec::new(), vec![b'7'; 700], sealed[..600].to_vec()] {
            reseal(&mut other);
        }
    }

    #[test]
    fn the_digest_of_a_bootstrap_of_v5_is_set_again() {
        let sealed = v5_blob_with(b"boot");
        let mut blob = sealed.clone();
        blob[4] ^= 1;
        reseal(&mut blob);
        assert_eq!(blob, sealed);
        assert_eq!(
            (ends_as_v5(&sealed), ends_as_v5(&blob_with(b"boot")), ends_as_v5(b"image.boot")),
            (true, false, false)
        );
        let header = header("image.boot", 31);
        for bytes in [0, 31] {
            let mut short = [&vec![7; bytes], &header[..]].concat();
            let before = short.clone();
            reseal(&mut short);
            assert_eq!(short, before, "it has no room for a digest");
        }
    }
}
