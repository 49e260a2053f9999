//! Indexes over several platforms, with BuildKit's attestations.

use accel_image::{Annotations, Descriptor, Index, Manifest, Platform, media_type};
use accel_registry_server::Content;
use serde_json::{Map, json};

use super::{Dialect, PushedImage, put_document};

/// An index in the making: OCI unless it is told otherwise.
#[derive(Debug, Clone)]
pub struct IndexBuilder {
    dialect: Dialect,
    manifests: Vec<Descriptor>,
    annotations: Annotations,
    subject: Option<Descriptor>,
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexBuilder {
    /// An empty index.
    #[must_use]
    pub const fn new() -> Self {
        Self { dialect: Dialect::Oci, manifests: Vec::new(), annotations: Annotations::new(), subject: None }
    }

    /// Docker's media type instead of OCI's.
    #[must_use]
    pub fn docker(self) -> Self {
        Self { dialect: Dialect::Docker, ..self }
    }

    /// The next entry: an image that was pushed.
    #[must_use]
    pub fn image(self, image: &PushedImage) -> Self {
        self.entry(image.manifest.clone())
    }

    /// The next entry.
    #[must_use]
    pub fn entry(mut self, descriptor: Descriptor) -> Self {
        self.manifests.push(descriptor);
        self
    }

    /// The next entry: an attestation of `image`, which is pushed here.
    #[must_use]
    pub fn attestation(self, content: &Content, repository: &str, image: &PushedImage) -> Self {
        self.entry(attest(content, repository, image))
    }

    /// An annotation of the index.
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

    /// Pushes the index; without a tag it has its digest only.
    pub fn push(&self, content: &Content, repository: &str, tag: Option<&str>) -> Descriptor {
        let index = Index {
            schema_version: 2,
            media_type: self.dialect.index().to_owned(),
            manifests: self.manifests.clone(),
            subject: self.subject.clone(),
            annotations: self.annotations.clone(),
            other: Map::new(),
        };
        put_document(content, repository, tag, &index.media_type, index.to_bytes())
    }
}

/// A provenance statement as BuildKit pushes it: a manifest of an in-toto blob for platform unknown/unknown.
fn attest(content: &Content, repository: &str, image: &PushedImage) -> Descriptor {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "image", "digest": {"sha256": image.manifest.digest.hex()}}],
        "predicate": {},
    })
    .to_string();
    let mut layer = Descriptor::of("application/vnd.in-toto+json", statement.as_bytes());
    layer.annotations.insert("in-toto.io/predicate-type".to_owned(), "https://slsa.dev/provenance/v0.2".to_owned());
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [content.put_blob(repository, statement)]},
    })
    .to_string();
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor::of(media_type::OCI_CONFIG, config.as_bytes()),
        layers: vec![layer],
        subject: None,
        annotations: Annotations::new(),
        other: Map::new(),
    };
    content.put_blob(repository, config);
    let mut descriptor = put_document(content, repository, None, media_type::OCI_MANIFEST, manifest.to_bytes());
    let unknown = || "unknown".to_owned();
    descriptor.platform = Some(Platform { os: unknown(), architecture: unknown(), variant: None, other: Map::new() });
    descriptor.annotations = Annotations::from([
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
        ("vnd.docker.reference.digest".to_owned(), image.manifest.digest.to_string()),
    ]);
    descriptor
}
