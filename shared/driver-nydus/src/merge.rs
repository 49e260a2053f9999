//! The merge: from the bootstraps of all layers the one of the image, in the layer that ends it.

mod container;
mod numbers;
mod overlay;
mod part;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use accel_driver::{Blobs, DriverError, Merged, Part};
use accel_image::{Annotations, Digest, media_type};
use accel_stream::Limits;

use crate::bootstrap::{Blob, BlobTable, ChunkRef, Extra, Image, MOST_BLOBS, Plan, feature, leave_out_unused};
use crate::compressor::Compressor;
use crate::dictionary::ChunkDictionary;
use crate::layer::batch;
use crate::names::{BOOTSTRAP, FS_VERSION};
use crate::reader::{Bootstrap, FormatError};
use crate::tree::Tree;
use crate::version::Version;
use numbers::{Numbers, Other};
use overlay::Overlay;

/// What a merge is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'o> {
    pub(crate) version: Version,
    pub(crate) compressor: Compressor,
    pub(crate) chunk_bytes: u32,
    pub(crate) prefetch: &'o [String],
    pub(crate) limits: Limits,
    /// That to which the layers refer.
    pub(crate) dictionary: Option<&'o ChunkDictionary>,
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
    let other_blobs = merging.other_blobs(parts);
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
        other_blobs,
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
        let numbers = self.numbers(options, &layer.bootstrap, known).map_err(damaged)?;
        let has_chunks = numbers.own.is_some();
        if options.version == Version::V6 && has_chunks != layer.meta.is_some() {
            return Err(damaged("it has either chunks or sections about them, not both"));
        }
        if self.blobs.len() + usize::from(has_chunks && known.is_none()) > MOST_BLOBS {
            let reason = "with it the image has more than 254 blobs, and the format holds 254: layers with files in them, \
                          and blobs of the chunk dictionary";
            return Err(DriverError::unmergeable(part.source, b"/", reason));
        }
        let number = numbers.own.unwrap_or_default();
        Overlay::new(&mut self.tree, &mut self.refs, &layer.bootstrap, &numbers, part, options.limits).apply()?;
        self.layers.insert(part.digest, Known { bootstrap: layer.digest, number });
        if has_chunks && known.is_none() {
            self.take_blob(options, part, layer).map_err(|fault| damaged(&fault.to_string()))?;
        }
        Ok(())
    }

    /// The numbers that the blobs of a layer have in the image. Those of the dictionary that are new are added.
    fn numbers(
        &mut self,
        options: &Options<'_>,
        layer: &Bootstrap,
        known: Option<Known>,
    ) -> Result<Numbers, &'static str> {
        let (has_own, others) = match layer.blobs() {
            [own, others @ ..] if own.is_own() => (true, others),
            others => (false, others),
        };
        let mut numbers = Numbers::default();
        for other in others {
            let blob = options.dictionary.and_then(|dictionary| dictionary.blob(&other.id));
            let blob =
                blob.ok_or("its bootstrap refers to a blob that is neither its own nor of the chunk dictionary")?;
            let place = self.blobs.iter().position(|known| known.id == blob.id).unwrap_or_else(|| {
                self.blobs.push(blob.clone());
                self.blobs.len() - 1
            });
            numbers.others.push(Other { number: place as u8, chunks: Arc::clone(&blob.chunks) });
        }
        numbers.own = has_own.then(|| known.map_or(self.blobs.len() as u8, |known| known.number));
        Ok(numbers)
    }

    /// Keeps of a layer what the image says of its blob.
    fn take_blob(&mut self, options: &Options<'_>, part: &Part, layer: part::Layer) -> Result<(), FormatError> {
        let part::Layer { bootstrap, meta, .. } = layer;
        let Some(known) = bootstrap.blobs().first().cloned() else { return Ok(()) };
        let derived = Blob::of_layer(bootstrap.version(), known.compressor, bootstrap.into_layer_chunks()?, 0, 0);
        let of_original = if known.is_original() { feature::ORIGINAL } else { 0 };
        if known.features != derived.features | of_original {
            return Err(FormatError::Tail("its features are not those of a blob with such chunks"));
        }
        batch::check(&derived.chunks, options.chunk_bytes.into()).map_err(FormatError::Tail)?;
        let blob = Blob {
            compressed_bytes: known.compressed_size,
            uncompressed_bytes: known.uncompressed_size,
            features: known.features,
            meta: known.meta,
            ..derived
        };
        let is_told_so = meta.is_none_or(|(array, header)| {
            // Windows are not in the bootstrap: only who reads the original can tell whether they are right.
            part::is_at(&blob, &array) && (known.is_original() || part::is_about(&blob, &array, &header))
        });
        if blob.chunks.len() != known.chunk_count as usize || !is_told_so {
            return Err(FormatError::Tail("its sections about chunks are not about those of its bootstrap"));
        }
        if known.is_original() && known.id != part.source {
            return Err(FormatError::Tail("it is an index into another layer"));
        }
        self.blobs.push(blob.into_image(part));
        Ok(())
    }

    /// Blobs that are no part, nor the layer that one is an index into: those of the dictionary.
    fn other_blobs(&self, parts: &[Part]) -> Vec<Digest> {
        let is_other = |digest: &Digest| parts.iter().all(|part| part.digest != *digest);
        let stored = self.blobs.iter().filter(|blob| blob.index.is_none());
        stored.filter_map(Blob::digest).filter(is_other).collect()
    }

    /// Leaves out blobs to which no file refers any more.
    fn drop_unused(&mut self, chunk_bytes: u32) {
        let numbers = leave_out_unused(&mut self.blobs, &self.tree, &self.refs, chunk_bytes, ChunkRef::blob);
        for chunk in &mut self.refs {
            *chunk = ChunkRef::new(numbers[chunk.blob()] as u8, chunk.chunk());
        }
    }
}
