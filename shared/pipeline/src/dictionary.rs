//! The chunk dictionary: an image to whose blobs the layers refer instead of holding the same chunks once more. It is read
//! before anything else, and what a conversion remembers names it by its digest: a tag that moves never mixes two.

mod in_use;

use std::collections::HashMap;
use std::sync::Arc;

use accel_domain::{Format, FormatOptions, NydusOptions, Output};
use accel_driver_nydus::{BLOB, BOOTSTRAP, ChunkDictionary, DictionaryBuilder, DictionaryFault, DictionaryImage};
use accel_image::{Descriptor, Digest, RawDocument, Reference, media_type};
use accel_registry::{End, RegistryError};
use accel_stream::Limits;
use tracing::instrument;

use crate::bootstrap::{self, Wanted};
use crate::engine::Engine;
use crate::error::ConvertError;
use crate::image::Job;
use crate::source::{Fetched, Purpose, SourceImage, fetch};
use crate::watch::StopSignal;
use in_use::{InUse, Key};

pub(crate) use in_use::Dictionaries;

/// The chunk dictionary of a conversion.
pub(crate) struct Dictionary {
    /// The image, by its digest.
    image: Reference,
    /// Its repository.
    pub(crate) end: End,
    contents: InUse,
}

/// What is read of a dictionary.
pub(crate) struct Contents {
    /// Its layers.
    layers: HashMap<Digest, Descriptor>,
    /// Its chunks.
    chunks: Arc<ChunkDictionary>,
}

/// The job with its dictionary named by its digest, and the dictionary, if it has one.
///
/// # Errors
/// The dictionary cannot be read, or is none to which the images of the job can refer.
pub(crate) async fn at_hand(
    engine: &Engine,
    job: &Job,
    stop: &StopSignal,
) -> Result<(Job, Option<Dictionary>), ConvertError> {
    let FormatOptions::Nydus(options) = &job.output.options else { return Ok((job.clone(), None)) };
    let Some(image) = &options.chunk_dictionary else { return Ok((job.clone(), None)) };
    let taking = stop.unless(Box::pin(take(engine, image, job.dictionary.as_ref(), options, job.limits)));
    let dictionary = taking.await.map_err(|error| blame(image.to_string(), error))?;
    let mut job = job.clone();
    job.output.options = match dictionary.image.digest() {
        Some(digest) => job.output.options.with_chunk_dictionary_at(digest),
        None => job.output.options,
    };
    Ok((job, Some(dictionary)))
}

/// Names the dictionary in an error.
fn blame(what: String, error: ConvertError) -> ConvertError {
    match error {
        stopped @ ConvertError::Stopped(_) => stopped,
        error => ConvertError::Dictionary { what, source: Box::new(error) },
    }
}

#[instrument(skip_all, fields(dictionary = %image))]
async fn take(
    engine: &Engine,
    image: &Reference,
    end: Option<&End>,
    options: &NydusOptions,
    limits: Limits,
) -> Result<Dictionary, ConvertError> {
    let unknown = || RegistryError::UnknownHost { host: image.host().to_owned() };
    let end = end.ok_or_else(unknown)?.clone();
    let top = end.get_manifest(&image.manifest_key()).await?;
    let image = image.with_digest(top.digest);
    let key = Key { image: top.digest, compressor: options.compressor, chunk_size: options.chunk_size, limits };
    let contents = engine.dictionaries.take(key, engine, Box::pin(read(&end, top, options, limits))).await?;
    Ok(Dictionary { image, end, contents })
}

async fn read(end: &End, top: RawDocument, options: &NydusOptions, limits: Limits) -> Result<Contents, ConvertError> {
    let everything = Output::new(Format::Nydus.default_options());
    let source = match fetch(end, top, &everything, Purpose::Look).await? {
        Fetched::Image(source) => source,
        Fetched::NotAnImage(media_type) => {
            return Err(ConvertError::Unsupported(format!("its configuration is of type `{media_type}`")));
        }
    };
    let mut builder = DictionaryBuilder::new(options.clone());
    let mut layers = HashMap::new();
    for image in &source.images {
        let Some(last) = bootstrap_layer(image) else { continue };
        builder = Box::pin(add(builder, end, last, limits)).await?;
        layers.extend(image.manifest.layers.iter().map(|layer| (layer.digest, layer.clone())));
    }
    if layers.is_empty() {
        return Err(ConvertError::Unsupported("it is no Nydus image: no layer of it holds a bootstrap".to_owned()));
    }
    let built = tokio::task::spawn_blocking(move || builder.build()).await;
    let chunks = built.map_err(|_| ConvertError::MergePanicked(source.top.digest))?.map_err(refused)?;
    let contents = Contents { layers, chunks: Arc::new(chunks) };
    contents.chunks.blob_digests().try_for_each(|blob| contents.listed(blob).map(drop))?;
    Ok(contents)
}

/// The layer with the bootstrap, if it is a Nydus image.
fn bootstrap_layer(image: &SourceImage) -> Option<&Descriptor> {
    image.manifest.layers.last().filter(|layer| layer.annotations.contains_key(BOOTSTRAP))
}

async fn add(
    mut builder: DictionaryBuilder,
    end: &End,
    layer: &Descriptor,
    limits: Limits,
) -> Result<DictionaryBuilder, ConvertError> {
    let read = bootstrap::read_what(Wanted::DICTIONARY, end, layer, limits, |_| ()).await?;
    let read = read.map_err(|what| ConvertError::Unsupported(format!("its layer {}: {what}", layer.digest)))?;
    let image = DictionaryImage { bootstrap: read.bootstrap, metas: read.metas };
    let added = tokio::task::spawn_blocking(move || builder.add(image).map(|()| builder)).await;
    added.map_err(|_| ConvertError::Panicked(layer.digest))?.map_err(refused)
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn refused(fault: DictionaryFault) -> ConvertError {
    ConvertError::Unsupported(fault.to_string())
}

impl Dictionary {
    /// Its chunks.
    pub(crate) fn chunks(&self) -> Arc<ChunkDictionary> {
        Arc::clone(&self.contents.chunks)
    }

    /// A blob of it, as the manifest of an image that refers to it lists it.
    pub(crate) fn layer(&self, blob: Digest) -> Result<Descriptor, ConvertError> {
        self.contents.listed(blob).map_err(|error| blame(self.image.to_string(), error))
    }

    /// Names it and its blob in an error.
    pub(crate) fn blame(&self, blob: Digest, error: ConvertError) -> ConvertError {
        blame(format!("{}, blob {blob}", self.image), error)
    }
}

impl Contents {
    fn listed(&self, blob: Digest) -> Result<Descriptor, ConvertError> {
        let layer = self.layers.get(&blob);
        let layer = layer.ok_or_else(|| {
            ConvertError::Unsupported(format!("its manifest does not list blob {blob}, to which its files refer"))
        })?;
        let mut listed = Descriptor::new(media_type::NYDUS_BLOB, layer.digest, layer.size);
        listed.annotations.insert(BLOB.to_owned(), "true".to_owned());
        Ok(listed)
    }
}
