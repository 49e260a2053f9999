//! The merge: from the bootstraps of all layers the one of the image, in the layer that ends it.

mod container;
mod overlay;
mod part;

use std::collections::HashMap;
use std::io::Write;

use accel_driver::{Blobs, DriverError, Merged, Part};
use accel_image::{Annotations, Digest, media_type};
use accel_stream::Limits;

use crate::bootstrap::{BATCH_FEATURES, Blob, BlobTable, ChunkRef, Extra, Image, MOST_BLOBS, Plan, leave_out_unused};
use crate::compressor::Compressor;
use crate::layer::batch;
use crate::names::{BOOTSTRAP, FS_VERSION};
use crate::reader::FormatError;
use crate::tree::Tree;
use crate::version::Version;
use overlay::Overlay;

/// What a merge is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'o> {
    pub(crate) version: Version,
    pub(crate) compressor: Compressor,
    pub(crate) chunk_bytes: u32,
    pub(crate) prefetch: &'o [String],
    pub(crate) limits: Limits,
}

/// Merges `parts`, lowest first, and writes the layer.
pub(crate) fn merge(
    options: &Options<'_>,
    parts: &[Part],
    blobs: &mut dyn Blobs,
    output: &mut dyn Write,
) -> Result<Merged, DriverError> {
    let mut merging = Merging::new(options.limits);
    for part in parts {
        merging.add(options, part, blobs)?;
    }
    merging.drop_unused(options.chunk_bytes);
    let Merging { tree, refs, blobs, .. } = merging;
    let image = Image {
        tree: &tree,
        refs: &refs,
        blobs: BlobTable::from(blobs.as_slice()),
        chunk_bytes: options.chunk_bytes,
        compressor: options.compressor,
        version: options.version,
        extra: Extra::Image { prefetch: options.prefetch },
    };
    let layer = parts.last().map_or_else(|| Digest::of(b""), |part| part.source);
    let plan = Plan::new(&image).map_err(|fault| DriverError::unmergeable(layer, b"/", fault.reason()))?;
    let written = container::write(&image, &plan, output).map_err(DriverError::Output)?;
    let version = options.version.number().to_string();
    let annotations =
        [(BOOTSTRAP, "true"), (FS_VERSION, &version)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ok(Merged {
        digest: written.digest,
        size: written.size,
        diff_id: written.diff_id,
        media_type: media_type::OCI_LAYER_GZIP,
        annotations: annotations.into_iter().collect::<Annotations>(),
    })
}

/// The image so far.
struct Merging {
    tree: Tree,
    refs: Vec<ChunkRef>,
    blobs: Vec<Blob>,
    /// Layers by the digests of their blobs: an image may have a layer twice.
    layers: HashMap<Digest, Known>,
}

/// What is known of a layer.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The digest of its bootstrap.
    bootstrap: Digest,
    /// The number of its blob, if it has contents.
    number: u8,
}

impl Merging {
    fn new(limits: Limits) -> Self {
        Self { tree: Tree::of_image(limits), refs: Vec::new(), blobs: Vec::new(), layers: HashMap::new() }
    }

    fn add(&mut self, options: &Options<'_>, part: &Part, blobs: &mut dyn Blobs) -> Result<(), DriverError> {
        let layer = part::read(part, blobs, options.version)?;
        let damaged = |reason: &str| DriverError::Damaged { digest: part.digest, reason: reason.to_owned() };
        let made_with = (layer.bootstrap.version(), layer.bootstrap.compressor(), layer.bootstrap.chunk_size());
        if made_with != (options.version, options.compressor, options.chunk_bytes.into()) {
            return Err(damaged("it was made with other options"));
        }
        let known = self.layers.get(&part.digest).copied();
        if known.is_some_and(|known| known.bootstrap != layer.digest) {
            return Err(damaged("it was another when it was read before"));
        }
        let number = known.map_or(self.blobs.len() as u8, |known| known.number);
        let has_chunks = match layer.bootstrap.blobs() {
            [] => false,
            [_] => true,
            _ => return Err(damaged("its bootstrap refers to several blobs")),
        };
        if options.version == Version::V6 && has_chunks != layer.meta.is_some() {
            return Err(damaged("it has either chunks or sections about them, not both"));
        }
        if has_chunks && usize::from(number) == MOST_BLOBS {
            return Err(DriverError::unmergeable(
                part.source,
                b"/",
                "it is the 255th layer with files in it, and the format holds 254",
            ));
        }
        Overlay::new(&mut self.tree, &mut self.refs, &layer.bootstrap, number, part, options.limits).apply()?;
        self.layers.insert(part.digest, Known { bootstrap: layer.digest, number });
        if has_chunks && known.is_none() {
            self.take_blob(options, part, layer).map_err(|fault| damaged(&fault.to_string()))?;
        }
        Ok(())
    }

    /// Keeps of a layer what the image says of its blob.
    fn take_blob(&mut self, options: &Options<'_>, part: &Part, layer: part::Layer) -> Result<(), FormatError> {
        let part::Layer { bootstrap, meta, .. } = layer;
        let Some(known) = bootstrap.blobs().first().cloned() else { return Ok(()) };
        let derived = Blob::of_layer(bootstrap.version(), known.compressor, bootstrap.into_layer_chunks()?, 0, 0);
        if (derived.features ^ known.features) & BATCH_FEATURES != 0 {
            return Err(FormatError::Tail("it has batches and does not say so, or has none"));
        }
        batch::check(&derived.chunks, options.chunk_bytes.into()).map_err(FormatError::Tail)?;
        let blob = Blob {
            compressed_bytes: known.compressed_size,
            uncompressed_bytes: known.uncompressed_size,
            features: known.features,
            meta: known.meta,
            ..derived
        };
        let is_told_so = meta.is_none_or(|(array, header)| part::is_about(&blob, &array, &header));
        if blob.chunks.len() != known.chunk_count as usize || !is_told_so {
            return Err(FormatError::Tail("its sections about chunks are not about those of its bootstrap"));
        }
        self.blobs.push(blob.into_image(part.digest));
        Ok(())
    }

    /// Leaves out blobs to which no file refers any more.
    fn drop_unused(&mut self, chunk_bytes: u32) {
        let numbers = leave_out_unused(&mut self.blobs, &self.tree, &self.refs, chunk_bytes, ChunkRef::blob);
        for chunk in &mut self.refs {
            *chunk = ChunkRef::new(numbers[chunk.blob()] as u8, chunk.chunk());
        }
    }
}
