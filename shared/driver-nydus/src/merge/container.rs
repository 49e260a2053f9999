//! The layer that holds the bootstrap: a gzip of a tar of `image/image.boot` and, for each blob of RAFS v6, its `blob.meta`
//! as runtimes keep it, which spares them a request when they mount. Spec: nydus-snapshotter
//! `pkg/converter/convert_unix.go`.

use std::io::{self, Write};

use accel_image::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::bootstrap::{BLOCK_BYTES, Blob, Image, MetaFile, Plan};
use crate::hashed::Hashed;
use crate::layer::meta;
use crate::names::BOOTSTRAP_PATH;
use crate::version::Version;

/// The level of zlib-rs, part of the format's version.
const LEVEL: u32 = 6;
/// The two zero blocks that end a tar.
const END_OF_ARCHIVE: [u8; 1024] = [0; 1024];

/// What was written.
pub(super) struct Written {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
}

/// Writes the layer.
pub(super) fn write(image: &Image<'_>, plan: &Plan<'_>, output: &mut dyn Write) -> io::Result<Written> {
    let gzip = GzEncoder::new(Hashed::new(output), Compression::new(LEVEL));
    let mut tar = Hashed::new(io::BufWriter::with_capacity(128 << 10, gzip));
    tar.write_all(&header("image/", tar::EntryType::Directory, 0o755, 0))?;
    tar.write_all(&header(BOOTSTRAP_PATH, tar::EntryType::Regular, 0o444, plan.bytes()))?;
    plan.write(image, &mut tar)?;
    pad(&mut tar)?;
    if image.version == Version::V6 {
        image.blobs.all().iter().try_for_each(|blob| write_meta(blob, &mut tar))?;
    }
    tar.write_all(&END_OF_ARCHIVE)?;

    let diff_id = tar.hasher.finish();
    let gzip = tar.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    let hasher = gzip.finish()?.hasher;
    Ok(Written { size: hasher.bytes(), digest: hasher.finish(), diff_id })
}

/// The file about the blob's chunks.
fn write_meta<W: Write>(blob: &Blob, tar: &mut Hashed<W>) -> io::Result<()> {
    match &blob.meta_file {
        MetaFile::OfChunks => write_meta_of_chunks(blob, tar),
        MetaFile::Known(file) => {
            tar.write_all(&meta_file_header(blob, file.len() as u64))?;
            tar.write_all(file)
        }
        MetaFile::Missing => Ok(()),
    }
}

fn meta_file_header(blob: &Blob, bytes: u64) -> [u8; 512] {
    let path = format!("image/{}.blob.meta", String::from_utf8_lossy(&blob.id));
    header(&path, tar::EntryType::Regular, 0o444, bytes)
}

/// The array of the blob's chunks, padded to a block, and its header.
fn write_meta_of_chunks<W: Write>(blob: &Blob, tar: &mut Hashed<W>) -> io::Result<()> {
    let array_bytes = meta::array_bytes(&blob.chunks);
    let padding = array_bytes.next_multiple_of(BLOCK_BYTES) - array_bytes;
    let meta_header = meta::header(blob);
    let bytes = array_bytes + padding + meta_header.len() as u64;
    tar.write_all(&meta_file_header(blob, bytes))?;
    meta::write_array(&blob.chunks, tar)?;
    tar.write_all(&[0; BLOCK_BYTES as usize][..padding as usize])?;
    tar.write_all(&meta_header)
}

/// A USTAR header without owner and time.
fn header(path: &str, kind: tar::EntryType, mode: u32, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).expect("the layer's own names are short");
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}

/// Fills the last block of an entry.
fn pad<W: Write>(tar: &mut Hashed<W>) -> io::Result<()> {
    let used = (tar.hasher.bytes() % 512) as usize;
    tar.write_all(&END_OF_ARCHIVE[..(512 - used) % 512])
}
