//! The tag: what may be replaced, and the move itself. The caller holds the lease of the target.

use accel_domain::{Marker, marker};
use accel_image::{Digest, DocumentError};
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
    /// The target tag had the result a moment ago and has something else now: look again from the beginning.
    Replaced,
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
        // A page, or nothing that any registry keeps: that tells nothing of the tag.
        Err(error @ RegistryError::Document { source: DocumentError::Json(_), .. }) => return Err(error.into()),
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
    // Nydus images of ours say what acceld's say too: the marker decides wherever there is one.
    let made_of_it = marker.map_or_else(|| marker::is_acceld(annotations), |marker| marker.source == job.source_name);
    let replaceable = job.output.adopt || job.overwrites() || made_of_it;
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
    if let Some(now) = elsewhere(job, image.source_digest).await? {
        return Ok(Tagged::Superseded { now, ours: false });
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
    settled(job, expected).await
}

/// Whether a target tag that has the result for `source_digest` should still have it.
///
/// # Errors
/// Those of the two registries.
pub async fn confirm_tag(job: &Job, source_digest: Digest) -> Result<Tagged, ConvertError> {
    let Some(target_digest) = already_there(job, source_digest).await? else { return Ok(Tagged::Replaced) };
    let expected = if job.overwrites() { target_digest } else { source_digest };
    settled(job, expected).await
}

/// The target tag has our result: whether the source tag still points at `expected`.
async fn settled(job: &Job, expected: Digest) -> Result<Tagged, ConvertError> {
    let now = elsewhere(job, expected).await?;
    Ok(now.map_or(Tagged::Moved, |now| Tagged::Superseded { now, ours: true }))
}

/// What the source tag points at by now, if that is not the digest that the job names: nothing, perhaps.
pub(crate) async fn moved(job: &Job) -> Result<Option<Option<Digest>>, ConvertError> {
    match job.digest {
        Some(digest) => elsewhere(job, digest).await,
        None => Ok(None),
    }
}

/// What the source tag points at, if not at `expected`. A source without a tag cannot move.
async fn elsewhere(job: &Job, expected: Digest) -> Result<Option<Option<Digest>>, ConvertError> {
    if job.source_key.parse::<Digest>().is_ok() {
        return Ok(None);
    }
    let now = job.source.head_manifest(&job.source_key).await?.map(|descriptor| descriptor.digest);
    Ok(Some(now).filter(|now| *now != Some(expected)))
}
