//! A merged index: plain images and Nydus images under one tag, for nodes to choose. Pure. Spec: nydus-snapshotter,
//! `docs/index_detection.md`; acceld, `merge_manifest`.
//!
//! A node without the nydus-snapshotter takes the plain image, since it does not know the configuration of the other one.
//! The plain image gets an empty layer below all others: a node that has both would otherwise take a plain layer's
//! snapshot for that of the source.

use accel_domain::Marker;
use accel_image::{Annotations, Descriptor, Digest, Document, Index, Manifest, media_type};
use serde_json::{Map, json};

use super::SOURCE_DIGEST;
use crate::assemble::{self, ARTIFACT_TYPE, Assembled, AssembledImage, carried, document, sizes_of};
use crate::source::{Source, SourceImage};

/// Annotation of the empty layer.
const EMPTY_LAYER: &str = "containerd.io/snapshot/nydus-empty-layer";

/// The gzip of a tar without entries, byte for byte as acceld has it.
pub(crate) const EMPTY_TAR_GZIP: [u8; 32] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x62, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x58, 0x00,
    0x08, 0x00, 0x00, 0xff, 0xff, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
];

/// The layer that holds it.
pub(crate) fn empty_layer() -> Descriptor {
    let mut layer = Descriptor::of(media_type::OCI_LAYER_GZIP, &EMPTY_TAR_GZIP);
    layer.annotations.insert(EMPTY_LAYER.to_owned(), "true".to_owned());
    layer
}

/// What the empty layer decompresses to.
fn empty_diff_id() -> Digest {
    Digest::of(&[0; 1024])
}

/// The source's image as it stands in the index.
pub(crate) fn plain(source: &SourceImage) -> AssembledImage {
    let mut config = source.config.clone();
    config.set_diff_ids([empty_diff_id()].iter().chain(source.config.diff_ids()).copied().collect());
    config.add_first_history(json!({"created_by": "Nydus Converter", "comment": "Nydus Empty Layer"}));
    let config = document(media_type::OCI_CONFIG, config.to_bytes());

    let mut manifest =
        Manifest { media_type: media_type::OCI_MANIFEST.to_owned(), subject: None, ..source.manifest.clone() };
    manifest.config = Descriptor { annotations: manifest.config.annotations, ..config.descriptor.clone() };
    for layer in &mut manifest.layers {
        layer.media_type = media_type::to_oci(&layer.media_type).to_owned();
    }
    manifest.layers.insert(0, empty_layer());
    manifest.annotations.insert(SOURCE_DIGEST.to_owned(), source.descriptor.digest.to_string());

    let sizes = (sizes_of(&source.manifest), sizes_of(&manifest));
    AssembledImage { config, manifest: document(media_type::OCI_MANIFEST, manifest.to_bytes()), sizes }
}

/// The index: the plain images, the Nydus images, then the attestations that are carried, which attest the plain ones.
pub(crate) fn index(
    source: &Source,
    plain: &[AssembledImage],
    made: &[AssembledImage],
    marker: &Marker,
    subject: Option<Descriptor>,
) -> Assembled {
    let (plain, made) = (pairs(source, plain), pairs(source, made));
    let attested = plain.iter().map(|(source, plain)| (source.descriptor.digest, *plain)).collect();
    let mut manifests: Vec<Descriptor> = plain.iter().map(|(source, plain)| plain_entry(source, plain)).collect();
    manifests.extend(made.iter().map(|(source, made)| made_entry(source, made)));
    manifests.extend(source.attestations.iter().filter_map(|attestation| carried(&attestation.entry, &attested)));
    let base = match &source.top.document {
        Document::Index(index) => index.clone(),
        Document::Manifest(_) => Index {
            schema_version: 2,
            media_type: String::new(),
            manifests: Vec::new(),
            subject: None,
            annotations: Annotations::new(),
            other: Map::new(),
        },
    };
    let mut index = Index { media_type: media_type::OCI_INDEX.to_owned(), manifests, subject, ..base };
    marker.write(&mut index.annotations);
    document(media_type::OCI_INDEX, index.to_bytes())
}

/// The images of the source, each with the manifest that was made of it.
fn pairs<'p>(source: &'p Source, images: &'p [AssembledImage]) -> Vec<(&'p SourceImage, &'p Descriptor)> {
    source.images.iter().zip(images.iter().map(|image| &image.manifest.descriptor)).collect()
}

/// What the index says of the plain image of `source`, which `plain` describes.
pub(crate) fn plain_entry(source: &SourceImage, plain: &Descriptor) -> Descriptor {
    let mut entry = assemble::entry_with_its_layers(source, plain);
    entry.annotations.insert(SOURCE_DIGEST.to_owned(), source.descriptor.digest.to_string());
    entry
}

fn made_entry(source: &SourceImage, made: &Descriptor) -> Descriptor {
    let mut entry = assemble::entry(source, made);
    entry.other.insert(ARTIFACT_TYPE.to_owned(), media_type::NYDUS_MANIFEST.into());
    entry
}

#[cfg(test)]
mod tests {
    use accel_image::ImageConfig;
    use serde_json::Value;

    use super::*;

    fn source(kind: &str, layer_type: &str, layers: usize) -> SourceImage {
        let layer = |number: usize| Descriptor::of(layer_type, &[number as u8]);
        let diff_ids: Vec<Digest> = (0..layers).map(|number| Digest::of(&[number as u8, 1])).collect();
        let history: Vec<Value> = (0..layers).map(|number| json!({"created_by": number})).collect();
        let config =
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}, "history": history});
        let manifest = Manifest {
            schema_version: 2,
            media_type: kind.to_owned(),
            config: Descriptor::of("config", b"c"),
            layers: (0..layers).map(layer).collect(),
            subject: None,
            annotations: Annotations::from([("kept".to_owned(), "yes".to_owned())]),
            other: Map::new(),
        };
        let config = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
        SourceImage { entry: None, descriptor: Descriptor::of(kind, &manifest.to_bytes()), manifest, config }
    }

    #[test]
    fn u5_an_empty_layer_lies_below_the_others() {
        let dialects = [
            (media_type::OCI_MANIFEST, media_type::OCI_LAYER_GZIP),
            (media_type::DOCKER_MANIFEST, media_type::DOCKER_LAYER_GZIP),
        ];
        for ((kind, layer_type), layers) in dialects.into_iter().flat_map(|one| [0, 1, 3].map(|layers| (one, layers))) {
            let source = source(kind, layer_type, layers);
            let plain = plain(&source);
            let Ok(Document::Manifest(manifest)) = Document::parse(&plain.manifest.bytes, None) else {
                panic!("{kind}")
            };
            let config: Value = serde_json::from_slice(&plain.config.bytes).unwrap();
            let empty = &manifest.layers[0];
            assert_eq!((empty.size, empty.annotations[EMPTY_LAYER].as_str()), (32, "true"));
            let hex = "4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1";
            assert_eq!((empty.digest.hex().as_str(), empty.media_type.as_str()), (hex, media_type::OCI_LAYER_GZIP));
            let diff_ids: Vec<Digest> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap();
            let hex = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
            assert_eq!((diff_ids.len(), diff_ids[0].hex().as_str()), (layers + 1, hex));
            let history = config["history"].as_array().unwrap();
            assert_eq!((history.len(), &history[0]["comment"]), (layers + 1, &json!("Nydus Empty Layer")));
            assert!(manifest.layers[1..].iter().all(|layer| layer.media_type == media_type::OCI_LAYER_GZIP));
            let digests = |layers: &[Descriptor]| layers.iter().map(|layer| layer.digest).collect::<Vec<_>>();
            assert_eq!(digests(&manifest.layers[1..]), digests(&source.manifest.layers));
            assert_eq!(manifest.annotations[SOURCE_DIGEST], source.descriptor.digest.to_string());
            assert_eq!(
                (manifest.annotations["kept"].as_str(), manifest.media_type.as_str()),
                ("yes", media_type::OCI_MANIFEST)
            );
        }
    }
}
