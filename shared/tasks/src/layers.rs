//! The cache of layer records: what became of a layer under some options, and where the result is.

use std::future::Future;

use accel_domain::{Format, Timestamp};
use accel_image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// What determines a converted layer, and who may know of it: hits never cross a project.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayerKey {
    /// The target's host.
    pub host: String,
    /// The target's project.
    pub project: String,
    /// The source layer.
    pub source: Digest,
    /// The format.
    pub format: Format,
    /// Its version.
    pub version: u32,
    /// [`accel_domain::FormatOptions::layer_hash`].
    pub options: Digest,
}

/// What became of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerOutcome {
    /// It was converted.
    Converted,
    /// It cannot be represented, or already is what is wanted: it stays as it was.
    Kept,
}

/// A finished layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The descriptor that goes into the target's manifest, annotations included.
    pub descriptor: Descriptor,
    /// The diff id that goes into the target's configuration.
    pub diff_id: Digest,
    /// What became of it.
    pub outcome: LayerOutcome,
    /// Why it was kept; empty if it was converted.
    #[serde(default)]
    pub reason: String,
    /// A repository of the target's registry that has the blob.
    pub repository: String,
}

/// Remembers finished layers for 90 days after their last use. Losing a record costs time, never correctness.
pub trait LayerCache: Send + Sync + 'static {
    /// The record of `key`; a find counts as a use.
    fn find_layer(
        &self,
        key: &LayerKey,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<LayerRecord>, StoreError>> + Send;

    /// Remembers a finished layer.
    fn remember_layer(
        &self,
        key: &LayerKey,
        record: &LayerRecord,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The registry does not have the blob any more.
    fn forget_layer(&self, key: &LayerKey) -> impl Future<Output = Result<(), StoreError>> + Send;
}
