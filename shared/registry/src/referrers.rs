//! The referrers of a manifest where the registry does not list them itself: an index under the tag `sha256-<hex>`.
//! Spec: OCI distribution, "Referrers Tag Schema".

use accel_image::{Annotations, Descriptor, Digest, Document, Index, media_type};
use bytes::Bytes;
use serde_json::Map;

use crate::error::RegistryError;
use crate::registries::Repository;

/// The index is read, changed and written without a lock: another writer may have been quicker.
const WRITES: u32 = 3;

/// The fallback tag of `subject`.
pub(crate) fn fallback_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// `index` with `referrer`, or `None` if it is listed already.
pub(crate) fn with_referrer(index: Option<Index>, referrer: &Descriptor) -> Option<Index> {
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

impl Repository {
    /// Lists `referrer` (with its artifact type and annotations) under the fallback tag of `subject`.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`RegistryError::Protocol`] where something else than an index stands under the tag.
    pub async fn add_referrer_fallback(&self, subject: Digest, referrer: &Descriptor) -> Result<(), RegistryError> {
        let tag = fallback_tag(subject);
        for _ in 0..WRITES {
            let listed = self.fallback_index(&tag).await?;
            let Some(index) = with_referrer(listed, referrer) else { return Ok(()) };
            self.put_manifest(&tag, media_type::OCI_INDEX, Bytes::from(index.to_bytes())).await?;
        }
        match with_referrer(self.fallback_index(&tag).await?, referrer) {
            None => Ok(()),
            Some(_) => Err(self.action("PUT", format!("manifest {tag}")).protocol("another writer keeps replacing it")),
        }
    }

    async fn fallback_index(&self, tag: &str) -> Result<Option<Index>, RegistryError> {
        match self.get_manifest(tag).await {
            Ok(found) => match found.document {
                Document::Index(index) => Ok(Some(index)),
                Document::Manifest(_) => {
                    Err(self.action("GET", format!("manifest {tag}")).protocol("the fallback tag holds no index"))
                }
            },
            Err(RegistryError::ManifestNotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
