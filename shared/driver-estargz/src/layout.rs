//! Names, annotations and the footer. Spec: eStargz, "Footer".

/// The tar entry that holds the TOC.
pub const TOC_NAME: &str = "stargz.index.json";
/// The entry after the prioritized files.
pub const LANDMARK: &str = ".prefetch.landmark";
/// The first entry where there are no prioritized files.
pub const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";
/// The one byte that a landmark holds.
pub(crate) const LANDMARK_CONTENTS: [u8; 1] = [0x0f];

/// Annotation: digest of the TOC's JSON. Without it nothing pulls lazily.
pub const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Annotation: size of the uncompressed tar, in decimal.
pub const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// How long the footer is.
pub const FOOTER_BYTES: usize = 51;

/// The footer: an empty gzip member whose extra field says where the TOC's member begins.
#[must_use]
pub fn footer(toc_offset: u64) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    footer[..16].copy_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    footer[16..38].copy_from_slice(format!("{toc_offset:016x}STARGZ").as_bytes());
    footer[38..43].copy_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer
}

/// Whether an entry of this cleaned name is the format's own: it is dropped from a source and never extracted.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    [TOC_NAME, LANDMARK, NO_PREFETCH_LANDMARK].iter().any(|reserved| reserved.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_is_an_empty_gzip_member() {
        use std::io::Read;
        let footer = footer(0x1234);
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&footer[..]).read_to_end(&mut out).unwrap();
        assert!(out.is_empty());
        assert_eq!(&footer[16..38], b"0000000000001234STARGZ");
    }
}
