//! Assemble: configuration, manifest and index of the target. Pure.

use std::collections::HashMap;

use accel_domain::Marker;
use accel_image::{Annotations, Descriptor, Digest, Index, Manifest, media_type};
use bytes::Bytes;
use serde_json::Value;

use crate::ending::Ending;
use crate::layer::LayerReport;
use crate::source::{Attestation, SourceImage};

/// Annotations that speak of how the source's layer was chunked: none of them holds for another blob.
const CHUNKING: [&str; 3] =
    ["containerd.io/snapshot/stargz/", "io.containers.zstd-chunked.", "io.github.containers.zstd-chunked."];

/// Annotation of an index's entry by which containers/image tells that the image's layers are zstd.
const IS_ZSTD: &str = "io.github.containers.compression.zstd";
/// The member of a descriptor that says what a manifest is of.
pub(crate) const ARTIFACT_TYPE: &str = "artifactType";

/// A document that is to be put.
#[derive(Debug, Clone)]
pub(crate) struct Assembled {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Bytes,
}

/// One platform's target image.
#[derive(Debug, Clone)]
pub(crate) struct AssembledImage {
    pub(crate) config: Assembled,
    pub(crate) manifest: Assembled,
    /// Configuration and layers, in bytes: source, target.
    pub(crate) sizes: (u64, u64),
}

/// What the target of one image is made of besides its layers.
pub(crate) struct Parts {
    /// The layer that ends it, and what the history says of that one.
    pub(crate) ending: Option<(Ending, Value)>,
    /// Annotations of the format's own.
    pub(crate) annotations: Annotations,
    /// The media type of its configuration.
    pub(crate) config_type: &'static str,
    /// The source's manifest, where the target is to refer to it.
    pub(crate) subject: Option<Descriptor>,
}

/// The target of one image.
pub(crate) fn image(
    source: &SourceImage,
    layers: &HashMap<Digest, &LayerReport>,
    marker: &Marker,
    parts: Parts,
) -> AssembledImage {
    let Parts { ending, annotations, config_type, subject } = parts;
    let finished: Vec<&LayerReport> = source.manifest.layers.iter().map(|layer| layers[&layer.digest]).collect();
    let mut diff_ids: Vec<Digest> = finished.iter().map(|layer| layer.diff_id).collect();
    let mut layers: Vec<Descriptor> =
        source.manifest.layers.iter().zip(&finished).map(|(layer, done)| target_layer(layer, done)).collect();
    let mut config = source.config.clone();
    if let Some((ending, history)) = ending {
        diff_ids.extend(ending.other_blobs.iter().map(|blob| blob.digest));
        layers.extend(ending.other_blobs);
        diff_ids.push(ending.diff_id);
        layers.push(ending.descriptor);
        config.add_history(history);
    }
    config.set_diff_ids(diff_ids);
    let config = document(config_type, config.to_bytes());

    let mut manifest = Manifest { media_type: media_type::OCI_MANIFEST.to_owned(), subject, ..source.manifest.clone() };
    manifest.config = Descriptor { annotations: manifest.config.annotations, ..config.descriptor.clone() };
    manifest.layers = layers;
    manifest.annotations.extend(annotations);
    marker.write(&mut manifest.annotations);

    let sizes = (sizes_of(&source.manifest), sizes_of(&manifest));
    let manifest = document(media_type::OCI_MANIFEST, manifest.to_bytes());
    AssembledImage { config, manifest, sizes }
}

/// The target of an index: the converted manifests in the source's order, then the attestations that are carried.
pub(crate) fn index(
    source: &Index,
    images: &[(&SourceImage, &AssembledImage)],
    attestations: &[Attestation],
    marker: &Marker,
    subject: Option<Descriptor>,
) -> Assembled {
    let converted: HashMap<Digest, &Descriptor> =
        images.iter().map(|(source, image)| (source.descriptor.digest, &image.manifest.descriptor)).collect();
    let mut manifests = Vec::new();
    for (source, image) in images {
        manifests.push(entry(source, &image.manifest.descriptor));
    }
    manifests.extend(attestations.iter().filter_map(|attestation| carried(&attestation.entry, &converted)));
    let mut index = Index { media_type: media_type::OCI_INDEX.to_owned(), manifests, subject, ..source.clone() };
    marker.write(&mut index.annotations);
    document(media_type::OCI_INDEX, index.to_bytes())
}

/// What an index says of the image that was converted from `source`, and that `target` describes.
pub(crate) fn entry(source: &SourceImage, target: &Descriptor) -> Descriptor {
    let mut entry = entry_with_its_layers(source, target);
    entry.annotations.remove(IS_ZSTD);
    entry
}

/// As [`entry`], of an image with the source's own layers: the source's entry, or one for its platform, with another
/// document in it.
pub(crate) fn entry_with_its_layers(source: &SourceImage, target: &Descriptor) -> Descriptor {
    let Descriptor { digest, size, media_type, .. } = target.clone();
    let mut entry = source.entry.clone().unwrap_or_else(|| Descriptor {
        platform: Some(source.config.platform()),
        ..Descriptor::new("", digest, size)
    });
    entry.other.shift_remove("data"); // the source manifest's own bytes
    Descriptor { digest, size, media_type, ..entry }
}

/// What lists the target beside its subject where the registry does not do so by itself. Spec: OCI distribution,
/// "Referrers tag schema".
pub(crate) fn referrer(document: &Assembled, artifact_type: &str, marker: &Marker) -> Descriptor {
    let mut referrer = document.descriptor.clone();
    referrer.other.insert(ARTIFACT_TYPE.to_owned(), artifact_type.into());
    marker.write(&mut referrer.annotations);
    referrer
}

/// An attestation's entry with its reference corrected; `None` if it attests an image that is not in the target.
pub(crate) fn carried(entry: &Descriptor, converted: &HashMap<Digest, &Descriptor>) -> Option<Descriptor> {
    let target = converted.get(&entry.attested()?)?;
    let mut entry = entry.clone();
    entry.attest(target.digest);
    Some(entry)
}

/// The layer as the target's manifest names it: annotations of the source that still hold, then ours.
fn target_layer(source: &Descriptor, done: &LayerReport) -> Descriptor {
    let mut target = done.target.clone();
    let converted = target.digest != source.digest;
    let holds = |key: &str| !converted || !CHUNKING.iter().any(|prefix| key.starts_with(prefix));
    let mut annotations: Annotations = source.annotations.clone();
    annotations.retain(|key, _| holds(key));
    annotations.append(&mut target.annotations);
    Descriptor { annotations, ..target }
}

/// Configuration and layers, in bytes.
pub(crate) fn sizes_of(manifest: &Manifest) -> u64 {
    manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size))
}

/// `bytes` with their descriptor.
pub(crate) fn document(media_type: &str, bytes: Vec<u8>) -> Assembled {
    Assembled { descriptor: Descriptor::of(media_type, &bytes), bytes: bytes.into() }
}
