//! The end of a layer's blob: the bootstrap, which ends with a digest, and the tar header that names it.

use std::io::Read;

use accel_image::Digest;

use crate::bootstrap::v5::{DIGEST_BYTES, MOST_BYTES};
use crate::names::section;
use crate::reader::FormatError;

/// The tar header that ends a blob.
pub(crate) const TAIL_BYTES: u64 = 512;
/// What is reserved for a bootstrap before its bytes come.
const RESERVED_BYTES: u64 = 16 << 20;

/// Where the bootstrap of a blob of `blob_bytes` begins and how long it is; `tail` are the last [`TAIL_BYTES`].
pub(crate) fn range(tail: &[u8], blob_bytes: u64) -> Result<(u64, u64), FormatError> {
    const WRONG: FormatError = FormatError::Tail("its last 512 bytes are not the header of a bootstrap");
    if tail.len() as u64 != TAIL_BYTES {
        return Err(WRONG);
    }
    let header = tar::Header::from_byte_slice(tail);
    if *header.path_bytes() != *section::BOOTSTRAP.as_bytes() {
        return Err(WRONG);
    }
    let bytes = header.entry_size().map_err(|_| FormatError::Tail("its bootstrap has no length"))?;
    let from = blob_bytes.checked_sub(TAIL_BYTES).and_then(|end| end.checked_sub(bytes));
    match from.filter(|_| (DIGEST_BYTES..=MOST_BYTES).contains(&bytes)) {
        Some(from) => Ok((from, bytes)),
        None => Err(FormatError::Tail("its bootstrap has an impossible length")),
    }
}

/// The bootstrap and its digest, which are the `bytes` bytes of `source`.
pub(crate) fn read(source: &mut dyn Read, bytes: u64) -> Result<(Vec<u8>, Digest), FormatError> {
    let mut bootstrap = Vec::with_capacity(bytes.min(RESERVED_BYTES) as usize);
    source.take(bytes).read_to_end(&mut bootstrap).map_err(FormatError::from_io)?;
    let said = bootstrap.split_off(bootstrap.len().saturating_sub(DIGEST_BYTES as usize));
    let digest = Digest::of(&bootstrap);
    if digest.as_bytes()[..] != said {
        return Err(FormatError::Tail("its bootstrap is not what its digest says"));
    }
    Ok((bootstrap, digest))
}
