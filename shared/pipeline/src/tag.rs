//! The tag: what may be replaced, and the move itself. The caller holds the lease of the target.

use accel_domain::{Marker, marker};
use accel_image::Digest;
use accel_registry::{LayoutError, RegistryError};

use crate::error::ConvertError;
use crate::image::{ConvertedImage, Job};

/// How the move of a tag ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    /// The target tag has the result.
    Moved,
    /// The source tag points elsewhere by now. `ours` says whether the target tag has this stale result all the
    /// same, so that the digest that the source has now must be converted after it.
    Superseded {
        /// What the source tag points at now; `None` if it is gone.
        now: Option<Digest>,
        /// Whether the stale result stands under the target tag.
        ours: bool,
    },
}

/// The digest under the target tag if it is the very result that `job` asks for.
///
/// # Errors
/// [`ConvertError::NotOurs`] if the tag holds something that may not be replaced; those of the registry.
pub(crate) async fn already_there(job: &Job, source_digest: Digest) -> Result<Option<Digest>, ConvertError> {
    let standing = match job.target.get_manifest(&job.target_key).await {
        Ok(standing) => standing,
        Err(RegistryError::ManifestNotFound(_) | RegistryError::Layout(LayoutError::ManifestNotFound { .. })) => {
            return Ok(None);
        }
        Err(RegistryError::Document { .. } | RegistryError::Layout(LayoutError::Document { .. })) => {
            return if job.output.adopt { Ok(None) } else { Err(not_ours(job)) };
        }
        Err(error) => return Err(error.into()),
    };
    let annotations = standing.document.annotations();
    let marker = Marker::read(annotations);
    if marker.as_ref() == Some(&job.marker(source_digest)) {
        return Ok(Some(standing.digest));
    }
    let replaceable = job.output.adopt
        || job.overwrites()
        || marker.is_some_and(|marker| marker.source == job.source_name)
        || marker::is_acceld(annotations);
    if replaceable { Ok(None) } else { Err(not_ours(job)) }
}

fn not_ours(job: &Job) -> ConvertError {
    ConvertError::NotOurs { target: format!("{}:{}", job.target.describe(), job.target_key) }
}

/// Moves the target tag to `image`, if the source tag still points at what was converted and the target tag still may
/// be replaced.
///
/// # Errors
/// Those of the two registries. The tag may have moved if the answer to its PUT was lost for good.
pub async fn move_tag(job: &Job, image: &ConvertedImage) -> Result<Tagged, ConvertError> {
    if let Some(stale) = stale(job, image.source_digest, false).await? {
        return Ok(stale);
    }
    if already_there(job, image.source_digest).await?.is_some() {
        return Ok(Tagged::Moved);
    }
    if job.overwrites() {
        let source = &image.source;
        let key = format!("{}-orig", job.target_key);
        job.target.put_manifest(&key, source.document.media_type(), source.bytes.clone()).await?;
    }
    let top = &image.top;
    job.target.put_manifest(&job.target_key, &top.descriptor.media_type, top.bytes.clone()).await?;
    let expected = if job.overwrites() { top.descriptor.digest } else { image.source_digest };
    Ok(stale(job, expected, true).await?.unwrap_or(Tagged::Moved))
}

/// Whether a target tag that has the result for `source_digest` should still have it.
///
/// # Errors
/// Those of the two registries.
pub async fn confirm_tag(job: &Job, source_digest: Digest) -> Result<Tagged, ConvertError> {
    let there = already_there(job, source_digest).await?;
    let expected = there.filter(|_| job.overwrites()).unwrap_or(source_digest);
    Ok(stale(job, expected, there.is_some()).await?.unwrap_or(Tagged::Moved))
}

/// What the source tag points at by now, if that is not the digest that the job names: nothing, perhaps.
pub(crate) async fn moved(job: &Job) -> Result<Option<Option<Digest>>, ConvertError> {
    let Some(digest) = job.digest else { return Ok(None) };
    Ok(stale(job, digest, false).await?.and_then(|tagged| match tagged {
        Tagged::Superseded { now, .. } => Some(now),
        Tagged::Moved => None,
    }))
}

/// Whether the source tag points elsewhere than at `expected`. A source without a tag cannot move.
async fn stale(job: &Job, expected: Digest, ours: bool) -> Result<Option<Tagged>, ConvertError> {
    if job.source_key.parse::<Digest>().is_ok() {
        return Ok(None);
    }
    let now = job.source.head_manifest(&job.source_key).await?.map(|descriptor| descriptor.digest);
    Ok((now != Some(expected)).then_some(Tagged::Superseded { now, ours }))
}
