//! The end of a blob of RAFS v5: the layer's bootstrap alone, which says everything of the chunks.

use std::io::{self, Write};
use std::sync::Arc;

use accel_driver::{BlobWriter, DriverError};

use super::meta::ChunkPlace;
use super::tail::tar_header;
use crate::bootstrap::{Blob, BlobTable, ChunkRef, Extra, Image, Plan, leave_out_unused};
use crate::names::section;
use crate::tree::Tree;
use crate::version::Version;

/// Writes everything behind the chunks of the one `blob` that the layer has.
pub(super) fn write(
    out: &mut BlobWriter<'_>,
    mut blob: Blob,
    tree: &Tree,
    mut refs: Vec<ChunkRef>,
    chunk_bytes: u32,
) -> Result<(), DriverError> {
    drop_unused(Arc::make_mut(&mut blob.chunks), &mut refs, tree, chunk_bytes);
    if blob.data_bytes > 0 {
        out.write(&tar_header(section::DATA, blob.data_bytes))?;
        blob.compressed_bytes = out.offset();
    }
    let blobs = match blob.chunks.is_empty() {
        true => BlobTable::default(),
        false => BlobTable::from(std::slice::from_ref(&blob)),
    };
    let (compressor, version, extra) = (blob.compressor, Version::V5, Extra::Layer);
    let image = Image { tree, refs: &refs, blobs, chunk_bytes, compressor, version, extra };
    let plan = Plan::new(&image).map_err(|fault| fault.of_layer())?;
    write_bootstrap(out, &image, &plan).map_err(DriverError::Output)?;
    out.write(&tar_header(section::BOOTSTRAP, plan.bytes()))
}

fn write_bootstrap(out: &mut BlobWriter<'_>, image: &Image<'_>, plan: &Plan<'_>) -> io::Result<()> {
    let mut buffered = io::BufWriter::with_capacity(128 << 10, out);
    plan.write(image, &mut buffered)?;
    buffered.flush()
}

/// A chunk that no file of the layer has, because a later entry has replaced the one that had it, is in the blob and has no
/// number: only files say what chunks are.
fn drop_unused(chunks: &mut Vec<ChunkPlace>, refs: &mut [ChunkRef], tree: &Tree, chunk_bytes: u32) {
    let number = |chunk: ChunkRef| chunk.chunk() as usize;
    let numbers = leave_out_unused(chunks, tree, refs, chunk_bytes, number);
    refs.iter_mut().for_each(|chunk| *chunk = ChunkRef::new(0, numbers[number(*chunk)]));
}
