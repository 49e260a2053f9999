//! Manifests and indexes. Fields that are not understood are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::descriptor::{Annotations, Descriptor, no_annotations, null_is_none};

/// One platform's configuration and layers. Spec: OCI image, "Image Manifest".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The manifest this one refers to. Spec: OCI distribution, "Referrers".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "no_annotations", deserialize_with = "null_is_none")]
    pub annotations: Annotations,
    /// Everything else, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The list of manifests of an image for several platforms. Spec: OCI image, "Image Index".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The manifests, in order.
    pub manifests: Vec<Descriptor>,
    /// The manifest this one refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "no_annotations", deserialize_with = "null_is_none")]
    pub annotations: Annotations,
    /// Everything else, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Manifest {
    /// The bytes that go to a registry.
    ///
    /// # Panics
    /// Never: a manifest always serialises.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has only string keys")
    }
}

impl Index {
    /// The bytes that go to a registry.
    ///
    /// # Panics
    /// Never: an index always serialises.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an index has only string keys")
    }
}
