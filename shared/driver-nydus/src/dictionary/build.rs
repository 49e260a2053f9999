//! How a dictionary is gathered: from the bootstraps of its images, one for each platform.

use std::sync::Arc;

use accel_domain::NydusOptions;
use accel_image::Digest;

use super::{ChunkDictionary, DictionaryFault, DictionaryImage};
use crate::bootstrap::{BLOCK_BYTES, Blob, ChunkRef, MOST_BLOBS, MetaFile, V6_FEATURES};
use crate::compressor::Compressor;
use crate::layer::{ChunkPlace, meta};
use crate::reader::{self, Bootstrap};
use crate::version::Version;

/// What is said of a chunk of which nothing is known.
const UNKNOWN: ChunkPlace =
    ChunkPlace { digest: Digest::from_bytes([0; 32]), offset: 0, stored_bytes: 0, bytes: 0, block: 0, batch: None };

/// Whether images made with `options` can refer to chunks of this one.
fn check(bootstrap: &Bootstrap, options: &NydusOptions) -> Result<(), DictionaryFault> {
    let version = bootstrap.version();
    if version != Version::V6 {
        return Err(DictionaryFault::Version(version.number()));
    }
    if !bootstrap.has_sha256() {
        return Err(DictionaryFault::Digests);
    }
    let differ = |what, has: String, wanted: String| Err(DictionaryFault::Options { what, has, wanted });
    let (has, wanted) = (bootstrap.compressor(), Compressor::from(options.compressor));
    if has != wanted {
        return differ("compressor", has.name().to_owned(), wanted.name().to_owned());
    }
    let (has, wanted) = (accel_domain::ByteSize(bootstrap.chunk_size()), options.chunk_size);
    if has != wanted {
        return differ("chunk size", has.to_string(), wanted.to_string());
    }
    Ok(())
}

/// A dictionary that is being gathered.
#[derive(Debug)]
pub struct DictionaryBuilder {
    options: NydusOptions,
    blobs: Vec<Blob>,
    chunks: u32,
}

impl DictionaryBuilder {
    /// None yet, for images that are made with `options`.
    #[must_use]
    pub const fn new(options: NydusOptions) -> Self {
        Self { options, blobs: Vec::new(), chunks: 0 }
    }

    /// Adds the chunks of `image`.
    ///
    /// # Errors
    /// They cannot be referred to, contradict those of another image, or are too many.
    pub fn add(&mut self, image: DictionaryImage) -> Result<(), DictionaryFault> {
        let DictionaryImage { bootstrap, mut metas } = image;
        check(&bootstrap, &self.options)?;
        let said = bootstrap.blobs().to_vec();
        let numbers = said.iter().map(|blob| self.number(blob)).collect::<Result<Vec<_>, _>>()?;
        for (chunk, place) in bootstrap.into_listed_chunks() {
            let number = numbers[chunk.blob()];
            self.note(number, said[chunk.blob()].id, chunk.chunk() as usize, place)?;
        }
        for (blob, number) in said.iter().zip(numbers) {
            if let Some(file) = metas.remove(&blob.id) {
                if file.len() != meta::file_bytes(blob.chunk_count as usize) {
                    return Err(refused(blob, "the file about its chunks has another length"));
                }
                self.blobs[number].meta_file = MetaFile::Known(Arc::new(file));
            }
        }
        Ok(())
    }

    /// The number of a blob, which several images may have.
    fn number(&mut self, said: &reader::Blob) -> Result<usize, DictionaryFault> {
        let blob = of_dictionary(said, self.options.chunk_size.0)?;
        if let Some(number) = self.blobs.iter().position(|known| known.id == blob.id) {
            let known = &self.blobs[number];
            if known.chunks.len() != said.chunk_count as usize || !known.is_the_same(&blob) {
                return Err(refused(said, "two images say different things of it"));
            }
            return Ok(number);
        }
        if self.blobs.len() == MOST_BLOBS {
            return Err(DictionaryFault::TooManyBlobs);
        }
        self.chunks = self.chunks.saturating_add(said.chunk_count);
        if self.chunks > ChunkDictionary::MOST_CHUNKS {
            return Err(DictionaryFault::TooManyChunks);
        }
        let chunks = Arc::new(vec![UNKNOWN; said.chunk_count as usize]);
        self.blobs.push(Blob { chunks, ..blob });
        Ok(self.blobs.len() - 1)
    }

    fn note(&mut self, number: usize, id: Digest, chunk: usize, place: ChunkPlace) -> Result<(), DictionaryFault> {
        let refused = |reason| Err(DictionaryFault::Blob { blob: id, reason });
        let blob = &mut self.blobs[number];
        let end = place.offset + u64::from(place.stored_bytes);
        let uncompressed_end = u64::from(place.block) * BLOCK_BYTES + u64::from(place.bytes);
        if end > blob.compressed_bytes || uncompressed_end > blob.uncompressed_bytes {
            return refused("a chunk lies beyond its end");
        }
        if place.batch.is_some() || place.stored_bytes == 0 {
            return refused("a chunk of it is in a batch");
        }
        let known = &mut Arc::make_mut(&mut blob.chunks)[chunk];
        if *known != UNKNOWN && *known != place {
            return refused("two images say different things of a chunk");
        }
        *known = place;
        Ok(())
    }

    /// The dictionary.
    ///
    /// # Errors
    /// A file about a blob's chunks contradicts the bootstraps.
    pub fn build(self) -> Result<ChunkDictionary, DictionaryFault> {
        for blob in &self.blobs {
            if let (MetaFile::Known(file), Some(id)) = (&blob.meta_file, blob.digest())
                && !meta::is_file_about(file, &blob.chunks, |chunk| *chunk != UNKNOWN)
            {
                let reason = "the file about its chunks does not say what the bootstrap says";
                return Err(DictionaryFault::Blob { blob: id, reason });
            }
        }
        let chunks_of = |(number, blob): (usize, &Blob)| {
            let known = blob.chunks.iter().enumerate().filter(|(_, place)| **place != UNKNOWN);
            known.map(|(chunk, _)| ChunkRef::new(number as u8, chunk as u32)).collect::<Vec<_>>()
        };
        let mut by_digest: Vec<ChunkRef> = self.blobs.iter().enumerate().flat_map(chunks_of).collect();
        let digest = |chunk: ChunkRef| self.blobs[chunk.blob()].chunks[chunk.chunk() as usize].digest;
        by_digest.sort_unstable_by_key(|chunk| (digest(*chunk), *chunk));
        Ok(ChunkDictionary { blobs: self.blobs, by_digest })
    }
}

/// The blob as an image that refers to it has it, without its chunks, none of which is longer than `chunk_bytes`.
fn of_dictionary(said: &reader::Blob, chunk_bytes: u64) -> Result<Blob, DictionaryFault> {
    if said.is_own() && !said.is_original() {
        return Err(refused(said, "its digest is not said: this is the bootstrap of a layer"));
    }
    if said.features & !V6_FEATURES != 0 {
        return Err(refused(said, "it is of a kind to which this version does not refer"));
    }
    // Devices take room in an image's addresses, of which there are 16 TiB: only what is honest fits.
    if said.uncompressed_size > u64::from(said.chunk_count).saturating_mul(chunk_bytes) {
        return Err(refused(said, "it says that it is longer than all its chunks can be"));
    }
    let blob = Blob {
        compressed_bytes: said.compressed_size,
        uncompressed_bytes: said.uncompressed_size,
        features: said.features,
        meta: said.meta,
        meta_file: MetaFile::Missing,
        ..Blob::of_layer(Version::V6, said.compressor, Vec::new(), 0, 0)
    };
    Ok(blob.with_id(said.id))
}

const fn refused(said: &reader::Blob, reason: &'static str) -> DictionaryFault {
    DictionaryFault::Blob { blob: said.id, reason }
}
