//! The end of a blob of RAFS v6: sections about the chunks, the layer's bootstrap, and a table of contents (TOC).
//!
//! Each section is followed by a tar header that names it, so that readers find their way from the end. Spec: nydus
//! `storage/src/meta/toc.rs`, `builder/src/core/blob.rs`.

use std::io::{self, Write};

use accel_driver::{BlobWriter, DriverError};
use accel_image::Digest;

use super::meta;
use crate::bootstrap::{self, Blob, BlobTable, ChunkRef, Extra, Image, MetaPlace};
use crate::compressor::{Compressor, ZSTD_LEVEL};
use crate::hashed::Hashed;
use crate::names::section;
use crate::tree::Tree;
use crate::version::Version;

/// Writes everything behind the chunks of the layer's own blob, which is the first of `blobs` if it has any.
pub(super) fn write(
    out: &mut BlobWriter<'_>,
    mut blobs: Vec<Blob>,
    tree: &Tree,
    refs: &[ChunkRef],
    (compressor, chunk_bytes): (Compressor, u32),
) -> Result<(), DriverError> {
    let mut toc = Toc::default();
    if let Some(own) = blobs.first_mut().filter(|blob| blob.is_own()) {
        about_chunks(out, own, &mut toc)?;
    }
    let blobs = BlobTable::from(blobs.as_slice());
    let (version, extra) = (Version::V6, Extra::Layer);
    let image = Image { tree, refs, blobs, chunk_bytes, compressor, version, extra };
    write_bootstrap(out, &image, &mut toc)?;
    toc.write(out)
}

/// The sections that a layer without contents does not have.
fn about_chunks(out: &mut BlobWriter<'_>, blob: &mut Blob, toc: &mut Toc) -> Result<(), DriverError> {
    let data = out.digest_so_far();
    toc.add(section::DATA, Stored::Raw, data, 0, blob.data_bytes, blob.uncompressed_bytes);
    out.write(&tar_header(section::DATA, blob.data_bytes))?;

    let mut array = Vec::with_capacity(meta::array_bytes(&blob.chunks) as usize);
    meta::write_array(&blob.chunks, &mut array).map_err(DriverError::Output)?;
    let compressed = match blob.compressor {
        Compressor::Zstd => Some(zstd::bulk::compress(&array, ZSTD_LEVEL).map_err(|_| DriverError::Codec)?),
        // Readers of image layers know no LZ4 here; an index into a gzip is written elsewhere.
        Compressor::Lz4Block | Compressor::Gzip | Compressor::None => None,
    };
    let (stored, how) = match compressed.as_deref().filter(|compressed| compressed.len() < array.len()) {
        Some(compressed) => (compressed, Stored::Zstd),
        None => (array.as_slice(), Stored::Raw),
    };
    let (offset, stored_bytes, bytes) = (out.offset(), stored.len() as u64, array.len() as u64);
    blob.meta = MetaPlace { compressor: how.compressor(), offset, stored_bytes, bytes };
    out.write(stored)?;
    toc.add(section::META, how, Digest::of(&array), offset, stored_bytes, bytes);
    let header = meta::header(blob);
    toc.add_raw(section::META_HEADER, &header, out.offset());
    out.write(&header)?;
    out.write(&tar_header(section::META, stored_bytes + header.len() as u64))?;

    write_digests(out, blob, toc)?;
    blob.compressed_bytes = out.offset();
    Ok(())
}

pub(super) fn write_digests(out: &mut BlobWriter<'_>, blob: &Blob, toc: &mut Toc) -> Result<(), DriverError> {
    let digests: Vec<u8> = blob.chunks.iter().flat_map(|chunk| *chunk.digest.as_bytes()).collect();
    toc.add_raw(section::DIGESTS, &digests, out.offset());
    out.write(&digests)?;
    out.write(&tar_header(section::DIGESTS, digests.len() as u64))
}

pub(super) fn write_bootstrap(out: &mut BlobWriter<'_>, image: &Image<'_>, toc: &mut Toc) -> Result<(), DriverError> {
    let plan = bootstrap::Plan::new(image).map_err(|fault| fault.of_layer())?;
    let (offset, bytes) = (out.offset(), plan.bytes());
    let digest = compress(out, bytes, |to| plan.write(image, to)).map_err(DriverError::Output)?;
    let stored_bytes = out.offset() - offset;
    toc.add(section::BOOTSTRAP, Stored::Zstd, digest, offset, stored_bytes, bytes);
    out.write(&tar_header(section::BOOTSTRAP, stored_bytes))
}

/// Compresses what `write` writes; returns the digest of the uncompressed bytes.
fn compress(
    out: &mut BlobWriter<'_>,
    bytes: u64,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Digest> {
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(bytes))?;
    let mut hashed = Hashed::new(io::BufWriter::with_capacity(128 << 10, encoder));
    write(&mut hashed)?;
    hashed.inner.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(hashed.hasher.finish())
}

/// How a section is stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stored {
    Raw,
    Zstd,
}

impl Stored {
    const fn flags(self) -> u32 {
        match self {
            Self::Raw => 1,
            Self::Zstd => 2,
        }
    }

    pub(super) const fn compressor(self) -> u32 {
        match self {
            Self::Raw => Compressor::None.number(),
            Self::Zstd => Compressor::Zstd.number(),
        }
    }
}

/// The table of contents: 128 bytes a section.
#[derive(Default)]
pub(super) struct Toc(Vec<u8>);

impl Toc {
    const ENTRY_BYTES: usize = 128;

    pub(super) fn add(&mut self, name: &str, how: Stored, digest: Digest, offset: u64, stored_bytes: u64, bytes: u64) {
        let end = self.0.len() + Self::ENTRY_BYTES;
        self.0.extend(how.flags().to_le_bytes());
        self.0.extend([0; 4]);
        let mut padded = [0; 16];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        self.0.extend(padded);
        self.0.extend(digest.as_bytes());
        for number in [offset, stored_bytes, bytes] {
            self.0.extend(number.to_le_bytes());
        }
        self.0.resize(end, 0);
    }

    pub(super) fn add_raw(&mut self, name: &str, content: &[u8], offset: u64) {
        let bytes = content.len() as u64;
        self.add(name, Stored::Raw, Digest::of(content), offset, bytes, bytes);
    }

    pub(super) fn write(&self, out: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        out.write(&self.0)?;
        out.write(&tar_header(section::TOC, self.0.len() as u64))
    }
}

/// A GNU header of a regular file with everything but name and size zero.
pub(super) fn tar_header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).expect("the format's own names are short");
    header.set_size(size);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}
