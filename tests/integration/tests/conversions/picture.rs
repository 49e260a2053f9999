//! What tests put into images, and what they expect of the result.

use accel_image::{Annotations, Digest, Manifest};
use accel_registry_server::Content;
use accel_test_support::image::Layer;
use accel_test_support::tar::{dir, file, hardlink, symlink};
use accel_test_support::{ImageBuilder, Tree, compress, noise, tar, tree};
use serde_json::Value;

use crate::stage::{APP, Stage};

/// What eStargz adds to a layer.
pub(crate) const OWN_FILES: [&str; 3] = ["stargz.index.json", ".no.prefetch.landmark", ".prefetch.landmark"];
pub(crate) const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// A layer of a few files that no other number has.
pub(crate) fn small(number: u64) -> Vec<u8> {
    tar(&[
        dir("etc/"),
        file(format!("etc/{number}"), format!("file {number}")).mode(0o640).uid(number),
        dir(format!("usr-{number}/")),
        file(format!("usr-{number}/data"), noise(40_000, number)).mode(0o4755),
        hardlink(format!("usr-{number}/again"), format!("usr-{number}/data")),
        symlink(format!("usr-{number}/link"), "../etc"),
        file(format!("usr-{number}/empty"), b""),
    ])
}

/// A layer whose converted blob takes several requests to upload.
pub(crate) fn large(number: u64) -> Vec<u8> {
    tar(&[file(format!("large-{number}"), noise(5 << 20, number)), file("after", b"the end")])
}

/// An image of two small layers.
pub(crate) fn image() -> ImageBuilder {
    ImageBuilder::new().layer(&small(1)).layer(&small(2))
}

impl Stage {
    /// A layer of `library/app:1-esgz`, for an image that is built on an accelerated base.
    pub(crate) fn accelerated_layer(&self, at: usize) -> Layer {
        let descriptor = self.manifest(APP, "1-esgz").layers.swap_remove(at);
        let blob = self.content().blob(APP, descriptor.digest).unwrap();
        let diff_id = Digest::of(&compress::unpack(&blob).unwrap());
        Layer { descriptor, diff_id, blob: Some(blob.to_vec()) }
    }

    /// Asserts that two images of a repository hold the same files, and that the second is a whole eStargz image.
    pub(crate) fn assert_same_files(&self, repository: &str, source: &str, target: &str) {
        self.assert_same_content((repository, source), (repository, target));
        let manifest = self.manifest(repository, target);
        assert!(manifest.layers.iter().all(|layer| layer.annotations.contains_key(TOC_DIGEST)));
    }

    /// Asserts that two images, each a repository and a key, hold the same files, and that the second is whole.
    pub(crate) fn assert_same_content(&self, source: (&str, &str), target: (&str, &str)) {
        let files = |(repository, key)| Tree::of_image(self.content(), repository, key).unwrap().without(&OWN_FILES);
        let different = tree::diff(&files(source), &files(target));
        assert!(different.is_empty(), "{different:#?}");
        assert_whole(self.content(), target.0, &self.manifest(target.0, target.1));
    }
}

/// Asserts that all blobs of a manifest are there in their size, that diff ids are those of the layers, and that each
/// TOC has the digest that its layer's annotation says.
pub(crate) fn assert_whole(content: &Content, repository: &str, manifest: &Manifest) {
    let blob = |digest: Digest| content.blob(repository, digest).unwrap_or_else(|| panic!("blob {digest} is missing"));
    let config: Value = serde_json::from_slice(&blob(manifest.config.digest)).unwrap();
    let said: Vec<Digest> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap();
    assert_eq!(blob(manifest.config.digest).len() as u64, manifest.config.size);
    assert_eq!(said.len(), manifest.layers.len());
    for (layer, diff_id) in manifest.layers.iter().zip(said) {
        let bytes = blob(layer.digest);
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (layer.digest, layer.size));
        assert_eq!(Digest::of(&compress::unpack(&bytes).unwrap()), diff_id);
        if let Some(toc) = layer.annotations.get(TOC_DIGEST) {
            assert_eq!(Digest::of(&toc_of(&bytes)).to_string(), *toc);
        }
    }
}

/// The TOC of an eStargz blob, found as a lazy reader finds it. Spec: eStargz, "Footer".
fn toc_of(blob: &[u8]) -> Vec<u8> {
    let footer = &blob[blob.len() - 51..];
    assert_eq!(&footer[32..38], b"STARGZ");
    let offset = usize::from_str_radix(std::str::from_utf8(&footer[16..32]).unwrap(), 16).unwrap();
    let tar = compress::unpack(&blob[offset..blob.len() - 51]).unwrap();
    assert_eq!(&tar[..17], b"stargz.index.json");
    let size = std::str::from_utf8(&tar[124..135]).unwrap();
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap();
    tar[512..512 + size].to_vec()
}

/// The digest of the source that a converted document says it was made of.
pub(crate) fn made_of(annotations: &Annotations) -> Digest {
    annotations["io.accel.source.digest"].parse().unwrap()
}
