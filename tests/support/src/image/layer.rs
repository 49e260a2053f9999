//! Layers: a tar in its wrapping, with the media type that says so.

use accel_image::{Annotations, Descriptor, Digest, media_type};
use accel_registry_server::Content;
use serde_json::json;

use crate::compress;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// One gzip member.
    Gzip,
    /// Gzip members of so many bytes of the tar each.
    GzipMembers(usize),
    /// One zstd frame.
    Zstd,
}

/// Whose media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OCI's.
    Oci,
    /// Docker's.
    Docker,
}

impl Dialect {
    /// The type of an image manifest.
    #[must_use]
    pub const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_MANIFEST,
            Self::Docker => media_type::DOCKER_MANIFEST,
        }
    }

    /// The type of an index.
    #[must_use]
    pub const fn index(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_INDEX,
            Self::Docker => media_type::DOCKER_LIST,
        }
    }

    /// The type of an image configuration.
    #[must_use]
    pub const fn config(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_CONFIG,
            Self::Docker => media_type::DOCKER_CONFIG,
        }
    }

    /// The type of a layer.
    #[must_use]
    pub const fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::None) => media_type::OCI_LAYER,
            (Self::Oci, Compression::Gzip | Compression::GzipMembers(_)) => media_type::OCI_LAYER_GZIP,
            (Self::Oci, Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Gzip | Compression::GzipMembers(_)) => media_type::DOCKER_LAYER_GZIP,
            (Self::Docker, Compression::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }
}

/// A layer ready to be pushed. Its parts are public, so that they can be made to disagree.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// What the configuration says of it.
    pub diff_id: Digest,
    /// What the registry gets; `None` for a foreign layer.
    pub blob: Option<Vec<u8>>,
}

impl Layer {
    /// A layer from an uncompressed tar.
    #[must_use]
    pub fn pack(tar: &[u8], compression: Compression, dialect: Dialect) -> Self {
        let blob = match compression {
            Compression::None => tar.to_vec(),
            Compression::Gzip => compress::gzip(tar),
            Compression::GzipMembers(bytes) => compress::gzip_members(&tar.chunks(bytes.max(1)).collect::<Vec<_>>()),
            Compression::Zstd => compress::zstd(tar),
        };
        Self::raw(dialect.layer(compression), blob, Digest::of(tar))
    }

    /// Any bytes under any media type.
    #[must_use]
    pub fn raw(media_type: &str, blob: Vec<u8>, diff_id: Digest) -> Self {
        Self { descriptor: Descriptor::of(media_type, &blob), diff_id, blob: Some(blob) }
    }

    /// A foreign layer: its blob is elsewhere.
    #[must_use]
    pub fn foreign(tar: &[u8]) -> Self {
        let kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let mut layer = Self::raw(kind, compress::gzip(tar), Digest::of(tar));
        layer.descriptor.other.insert("urls".to_owned(), json!(["https://foreign.example/layer"]));
        layer.blob = None;
        layer
    }

    /// An annotation of the layer's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        let annotations: &mut Annotations = &mut self.descriptor.annotations;
        annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn push(&self, content: &Content, repository: &str) -> Descriptor {
        if let Some(blob) = &self.blob {
            content.put_blob(repository, blob.clone());
        }
        self.descriptor.clone()
    }
}
