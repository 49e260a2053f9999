//! Images put together from tars, straight into a registry's content.

mod index;
mod layer;

use accel_image::{Annotations, Descriptor, Digest, Manifest, Platform};
use accel_registry_server::Content;
use serde_json::{Map, Value, json};

use crate::noise;
use crate::tar::{dir, file, tar};

pub use index::IndexBuilder;
pub use layer::{Compression, Dialect, Layer};

/// One platform's image in the making: OCI, linux/amd64 and gzip unless it is told otherwise.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    dialect: Dialect,
    config: Value,
    layers: Vec<Layer>,
    annotations: Annotations,
    subject: Option<Descriptor>,
    members: Map<String, Value>,
}

/// What was pushed.
#[derive(Debug, Clone)]
pub struct PushedImage {
    /// The manifest, with its platform, ready for an index.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The layers' diff ids, bottom first.
    pub diff_ids: Vec<Digest>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// An image without layers.
    #[must_use]
    pub fn new() -> Self {
        let config = json!({
            "created": "2023-11-14T22:13:20Z",
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        });
        Self {
            dialect: Dialect::Oci,
            config,
            layers: Vec::new(),
            annotations: Annotations::new(),
            subject: None,
            members: Map::new(),
        }
    }

    /// An image of `layers` layers of 48 KiB that no compression makes smaller, unlike those of any other label.
    #[must_use]
    pub fn noisy(label: &str, layers: usize) -> Self {
        (0..layers).fold(Self::new(), |image, layer| {
            let name = format!("{label} {layer}");
            let large = file(format!("srv/{layer}"), noise(48 << 10, seed_of(&name))).mode(0o755);
            image.layer(&tar(&[dir("srv/"), large, file("srv/last", name)]))
        })
    }

    /// Docker's media types instead of OCI's.
    #[must_use]
    pub fn docker(self) -> Self {
        Self { dialect: Dialect::Docker, ..self }
    }

    /// The platform: `linux/arm64`.
    ///
    /// # Panics
    /// It is not a platform.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Self {
        let platform: Platform = platform.parse().expect("tests name platforms");
        self.config["os"] = json!(platform.os);
        self.config["architecture"] = json!(platform.architecture);
        if let Some(variant) = platform.variant {
            self.config["variant"] = json!(variant);
        }
        self
    }

    /// The next layer, from an uncompressed tar, in gzip.
    #[must_use]
    pub fn layer(self, tar: &[u8]) -> Self {
        self.packed(tar, Compression::Gzip)
    }

    /// The next layer, from an uncompressed tar.
    #[must_use]
    pub fn packed(self, tar: &[u8], compression: Compression) -> Self {
        let layer = Layer::pack(tar, compression, self.dialect);
        self.with(layer)
    }

    /// The next layer, made elsewhere.
    #[must_use]
    pub fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// A member of the configuration's document.
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// A member of the manifest's document.
    #[must_use]
    pub fn member(mut self, key: &str, value: Value) -> Self {
        self.members.insert(key.to_owned(), value);
        self
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The manifest that this one refers to.
    #[must_use]
    pub fn subject(self, subject: Descriptor) -> Self {
        Self { subject: Some(subject), ..self }
    }

    /// Pushes layers, configuration and manifest; without a tag the manifest has its digest only.
    pub fn push(&self, content: &Content, repository: &str, tag: Option<&str>) -> PushedImage {
        let diff_ids: Vec<Digest> = self.layers.iter().map(|layer| layer.diff_id).collect();
        let mut config = self.config.clone();
        config["rootfs"]["diff_ids"] = json!(diff_ids);
        let config = config.to_string();
        content.put_blob(repository, config.clone());
        let config = Descriptor::of(self.dialect.config(), config.as_bytes());
        let layers: Vec<Descriptor> = self.layers.iter().map(|layer| layer.push(content, repository)).collect();
        let manifest = Manifest {
            schema_version: 2,
            media_type: self.dialect.manifest().to_owned(),
            config: config.clone(),
            layers: layers.clone(),
            subject: self.subject.clone(),
            annotations: self.annotations.clone(),
            other: self.members.clone(),
        };
        let mut manifest = put_document(content, repository, tag, &manifest.media_type, manifest.to_bytes());
        manifest.platform = Some(self.platform_of_config());
        PushedImage { manifest, config, layers, diff_ids }
    }

    fn platform_of_config(&self) -> Platform {
        let text = |key: &str| self.config[key].as_str().map(str::to_owned);
        Platform {
            os: text("os").unwrap_or_default(),
            architecture: text("architecture").unwrap_or_default(),
            variant: text("variant"),
            other: Map::new(),
        }
    }
}

/// A number that hardly any other name has.
fn seed_of(name: &str) -> u64 {
    Digest::of(name.as_bytes()).as_bytes().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Puts a document under a tag, or under its digest only.
fn put_document(content: &Content, repository: &str, tag: Option<&str>, kind: &str, bytes: Vec<u8>) -> Descriptor {
    let descriptor = Descriptor::of(kind, &bytes);
    let by_digest = descriptor.digest.to_string();
    content.put_manifest(repository, tag.unwrap_or(&by_digest), kind, bytes);
    descriptor
}
