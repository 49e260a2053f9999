//! Documents: configurations, manifests and index of the target, put together, and pushed by their digests.

use std::collections::HashMap;

use accel_domain::Marker;
use accel_driver::Part;
use accel_image::{Descriptor, Digest, Document, media_type};
use accel_registry::RegistryError;
use accel_tasks::LayerCache;
use bytes::Bytes;

use crate::assemble::{self, Assembled, AssembledImage, Parts};
use crate::error::ConvertError;
use crate::layer::{LayerReport, Layers};
use crate::nydus::merged;
use crate::publish::Presence;
use crate::source::{Source, SourceImage};
use crate::watch::Event;
use crate::{drivers, publish};

/// All documents of the target.
pub(crate) struct Documents {
    pub(crate) images: Vec<AssembledImage>,
    /// The plain images beside them, where the target is to hold both.
    pub(crate) plain: Vec<AssembledImage>,
    pub(crate) index: Option<Assembled>,
    /// Blobs of the chunk dictionary that manifests list.
    other_blobs: Vec<Descriptor>,
    marker: Marker,
}

/// Puts the documents together; what ends an image is made and uploaded for that.
///
/// # Errors
/// A file system that the format cannot hold; those of the target's registry.
pub(crate) async fn assemble<C: LayerCache>(
    layers: &Layers<'_, C>,
    source: &Source,
    finished: &[LayerReport],
) -> Result<Documents, ConvertError> {
    let job = layers.job;
    let finished: HashMap<Digest, &LayerReport> = finished.iter().map(|layer| (layer.source.digest, layer)).collect();
    let marker = job.marker(source.top.digest);
    let subject = |descriptor: &Descriptor| job.refers().then(|| descriptor.clone());
    let mut images = Vec::with_capacity(source.images.len());
    let mut other_blobs: Vec<Descriptor> = Vec::new();
    for image in &source.images {
        let ending = Box::pin(layers.end(image.descriptor.digest, &parts(image, &finished))).await?;
        for blob in ending.iter().flat_map(|ending| &ending.other_blobs) {
            if !other_blobs.contains(blob) {
                other_blobs.push(blob.clone());
            }
        }
        let sayings = drivers::sayings(&job.output, &job.source_name, image.descriptor.digest);
        let parts = Parts {
            ending: ending.map(|ending| (ending, sayings.history)),
            annotations: sayings.annotations,
            config_type: sayings.config_type,
            subject: subject(&image.descriptor),
        };
        images.push(assemble::image(image, &finished, &marker, parts));
    }
    let merges = drivers::merges_manifests(&job.output.options);
    let plain: Vec<_> = if merges { source.images.iter().map(merged::plain).collect() } else { Vec::new() };
    let index = match &source.top.document {
        _ if merges => {
            let subject = subject(&source.top.descriptor());
            Some(merged::index(source, &plain, &images, &marker, subject))
        }
        Document::Manifest(_) => None,
        Document::Index(index) => {
            let pairs: Vec<_> = source.images.iter().zip(&images).collect();
            Some(assemble::index(index, &pairs, &source.attestations, &marker, subject(&source.top.descriptor())))
        }
    };
    Ok(Documents { images, plain, index, other_blobs, marker })
}

/// The converted layers of an image, in its order; one that stands in it twice comes twice.
fn parts(image: &SourceImage, finished: &HashMap<Digest, &LayerReport>) -> Vec<Part> {
    let part = |layer: &Descriptor| {
        let Descriptor { digest, size, .. } = finished[&layer.digest].target;
        Part { source: layer.digest, digest, size }
    };
    image.manifest.layers.iter().map(part).collect()
}

/// What else the manifests list; configurations, manifests, index: each by digest, so that whatever is missing shows before
/// a tag is touched.
///
/// # Errors
/// Those of the two ends; [`ConvertError::Stopped`].
pub(crate) async fn push<C: LayerCache>(
    layers: &Layers<'_, C>,
    source: &Source,
    assembled: &Documents,
) -> Result<(), ConvertError> {
    Box::pin(provide_other_blobs(layers, assembled, Presence::Asked)).await?;
    let documents = || Box::pin(push_documents(layers, source, assembled));
    match documents().await {
        // It lacks a blob that it said it has. To bring those of the dictionary again costs less than to do the layers again.
        Err(ConvertError::Registry(RegistryError::ManifestBlobUnknown(_))) if !assembled.other_blobs.is_empty() => {
            match Box::pin(provide_other_blobs(layers, assembled, Presence::Doubted)).await {
                Ok(()) => documents().await,
                // It may be a layer that the target lacks; if not, this is what is told.
                Err(error) if error.is_of_a_lost_blob() => Err(ConvertError::LostBeside(Box::new(error))),
                Err(error) => Err(error),
            }
        }
        pushed => pushed,
    }
}

/// Sees to it that the target's repository has the blobs of the chunk dictionary that manifests list. One that is being copied
/// when the stop comes is cancelled.
async fn provide_other_blobs<C: LayerCache>(
    layers: &Layers<'_, C>,
    assembled: &Documents,
    presence: Presence,
) -> Result<(), ConvertError> {
    let Layers { job, watch, stop, .. } = layers;
    let Some(dictionary) = layers.dictionary else { return Ok(()) };
    for blob in &assembled.other_blobs {
        watch.event(&Event::LayerStarted { layer: blob.digest, size: blob.size });
        let provide = || publish::provide_blob(&dictionary.end, &job.target, (blob, presence), *watch, stop);
        let provided = layers.again(provide).await;
        provided.map_err(|error| dictionary.blame(blob.digest, error))?;
    }
    Ok(())
}

async fn push_documents<C: LayerCache>(
    layers: &Layers<'_, C>,
    source: &Source,
    assembled: &Documents,
) -> Result<(), ConvertError> {
    let Layers { job, watch, stop, .. } = layers;
    for (from, image) in source.images.iter().zip(&assembled.images) {
        layers.again(|| publish::config(&job.target, image, stop)).await?;
        put(layers, &image.manifest, &from.descriptor, &image.config.descriptor.media_type, &assembled.marker).await?;
    }
    for (from, image) in source.images.iter().zip(&assembled.plain) {
        push_plain(layers, from, image).await?;
    }
    for attestation in &source.attestations {
        layers.again(|| publish::attestation(&job.source, &job.target, attestation, *watch, stop)).await?;
    }
    match &assembled.index {
        Some(index) => put(layers, index, &source.top.descriptor(), media_type::OCI_INDEX, &assembled.marker).await,
        None => Ok(()),
    }
}

/// Puts a plain image. Its layers are the source's.
async fn push_plain<C: LayerCache>(
    layers: &Layers<'_, C>,
    from: &SourceImage,
    image: &AssembledImage,
) -> Result<(), ConvertError> {
    let Layers { job, watch, stop, .. } = layers;
    let empty = (merged::empty_layer(), Bytes::from_static(&merged::EMPTY_TAR_GZIP));
    layers.again(|| publish::small_blob(&job.target, &empty.0, empty.1.clone(), stop)).await?;
    if !job.source.same_repository(&job.target) {
        for layer in &from.manifest.layers {
            watch.event(&Event::LayerStarted { layer: layer.digest, size: layer.size });
            layers
                .again(|| publish::provide_blob(&job.source, &job.target, (layer, Presence::Asked), *watch, stop))
                .await?;
        }
    }
    layers.again(|| publish::config(&job.target, image, stop)).await?;
    publish::manifest(&job.target, &image.manifest, stop).await.map(drop)
}

/// Puts a manifest, and lists it beside its subject where the registry does not do so by itself.
async fn put<C: LayerCache>(
    layers: &Layers<'_, C>,
    document: &Assembled,
    subject: &Descriptor,
    kind: &str,
    marker: &Marker,
) -> Result<(), ConvertError> {
    let Layers { job, stop, .. } = layers;
    let listed = publish::manifest(&job.target, document, stop).await?;
    if job.refers() && !listed {
        let referrer = assemble::referrer(document, kind, marker);
        stop.unless(Box::pin(job.target.add_referrer_fallback(subject.digest, &referrer))).await?;
    }
    Ok(())
}
