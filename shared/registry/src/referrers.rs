//! The referrers of a manifest where the registry does not list them itself: an index under the tag `sha256-<hex>`.
//! Spec: OCI distribution, "Referrers Tag Schema".

use accel_image::{Annotations, Descriptor, Digest, Document, Index, media_type};
use bytes::Bytes;
use serde_json::Map;

use crate::End;
use crate::error::RegistryError;

/// The index is read, changed and written without a lock: another writer may have been quicker.
const WRITES: u32 = 3;

/// The fallback tag of `subject`.
fn fallback_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// `index` with `referrer`, or `None` if it is listed already.
fn with_referrer(index: Option<Index>, referrer: &Descriptor) -> Option<Index> {
    let mut index = index.unwrap_or_else(|| Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests: Vec::new(),
        subject: None,
        annotations: Annotations::new(),
        other: Map::new(),
    });
    if index.manifests.iter().any(|listed| listed.digest == referrer.digest) {
        return None;
    }
    index.manifests.push(referrer.clone());
    Some(index)
}

impl End {
    /// Lists `referrer` (with its artifact type and annotations) under the fallback tag of `subject`.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`RegistryError::Fallback`] where the tag holds something else, or does not hold still.
    pub async fn add_referrer_fallback(&self, subject: Digest, referrer: &Descriptor) -> Result<(), RegistryError> {
        let tag = fallback_tag(subject);
        for _ in 0..WRITES {
            let listed = self.fallback_index(&tag).await?;
            let Some(index) = with_referrer(listed, referrer) else { return Ok(()) };
            self.put_manifest(&tag, media_type::OCI_INDEX, Bytes::from(index.to_bytes())).await?;
        }
        match with_referrer(self.fallback_index(&tag).await?, referrer) {
            None => Ok(()),
            Some(_) => Err(self.fallback_error(&tag, "another writer keeps replacing it")),
        }
    }

    async fn fallback_index(&self, tag: &str) -> Result<Option<Index>, RegistryError> {
        if self.head_manifest(tag).await?.is_none() {
            return Ok(None);
        }
        match self.get_manifest(tag).await?.document {
            Document::Index(index) => Ok(Some(index)),
            Document::Manifest(_) => Err(self.fallback_error(tag, "it holds no index")),
        }
    }

    fn fallback_error(&self, tag: &str, reason: &'static str) -> RegistryError {
        RegistryError::Fallback { tag: format!("{}:{tag}", self.describe()), reason }
    }
}
