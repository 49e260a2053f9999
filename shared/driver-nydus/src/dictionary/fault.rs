//! Why an image cannot be a chunk dictionary.

use accel_image::Digest;

use super::ChunkDictionary;
use crate::bootstrap::MOST_BLOBS;

/// Why an image cannot be the chunk dictionary of another.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryFault {
    /// It is of another version of RAFS than 6.
    #[error("it is of RAFS v{0}, and only one of RAFS v6 can be referred to")]
    Version(u8),
    /// Its chunks cannot be found by their digests.
    #[error("its chunks have digests of another kind than SHA-256: let Accel make the dictionary")]
    Digests,
    /// It was made with other options than the image is.
    #[error("its {what} is {has}, and that of the images made is {wanted}: both have to be the same")]
    Options {
        /// The option.
        what: &'static str,
        /// What it has.
        has: String,
        /// What it should have.
        wanted: String,
    },
    /// One of its blobs cannot be referred to.
    #[error("its blob {blob}: {reason}")]
    Blob {
        /// The blob.
        blob: Digest,
        /// Why not.
        reason: &'static str,
    },
    /// It is too large.
    #[error(
        "its blobs hold more than {} chunks, the limit: take an image with fewer files",
        ChunkDictionary::MOST_CHUNKS
    )]
    TooManyChunks,
    /// It has too many blobs.
    #[error("it has more than {MOST_BLOBS} blobs, and the format holds no more")]
    TooManyBlobs,
}
