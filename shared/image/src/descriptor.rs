//! Descriptors: how one document points at another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, Platform};

/// Annotations, sorted by key so that documents come out the same every time.
pub type Annotations = BTreeMap<String, String>;

/// Media type, digest and size in bytes of a document. Spec: OCI image, "Content Descriptors".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    #[serde(default)]
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// The platform, on an entry of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "no_annotations", deserialize_with = "null_is_none")]
    pub annotations: Annotations,
    /// Everything else, kept. `urls` are never followed.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor of `bytes`.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// A descriptor with nothing but the three required members.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: Annotations::new(),
            other: Map::new(),
        }
    }

    /// Whether an index entry is a BuildKit attestation: said by its annotation or by its platform.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }

    /// The digest that an attestation's entry says it attests.
    #[must_use]
    pub fn attested(&self) -> Option<Digest> {
        self.annotations.get(ATTESTED)?.parse().ok()
    }

    /// Lets an attestation's entry attest another manifest.
    pub fn attest(&mut self, digest: Digest) {
        self.annotations.insert(ATTESTED.to_owned(), digest.to_string());
    }
}

/// BuildKit's annotation for the manifest that an attestation is about.
const ATTESTED: &str = "vnd.docker.reference.digest";

pub(crate) fn no_annotations(annotations: &Annotations) -> bool {
    annotations.is_empty()
}

/// Some builders write `"annotations": null`.
pub(crate) fn null_is_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
    Ok(Option::<Annotations>::deserialize(deserializer)?.unwrap_or_default())
}
