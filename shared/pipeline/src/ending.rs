//! Ending: the layer that ends an image, for formats whose layers are parts of one file system. It is made of parts of
//! the converted blobs, read back by range from where they were pushed: one way for layers that were converted just now,
//! that are remembered, and that somebody else has converted.

use std::io::{self, Read};
use std::sync::Arc;

use accel_driver::{Blobs, DriverError, Merged, Part};
use accel_image::{Descriptor, Digest};
use accel_registry::{End, RegistryError};
use accel_tasks::LayerCache;
use bytes::{Buf as _, Bytes};
use tokio::runtime::Handle;
use tracing::instrument;

use crate::error::ConvertError;
use crate::layer::Layers;
use crate::push;
use crate::watch::StopSignal;

/// How much of a blob is read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The layer that ends an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ending {
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
    /// Blobs of the chunk dictionary to which files refer.
    pub(crate) other_blobs: Vec<Descriptor>,
}

impl<C: LayerCache> Layers<'_, C> {
    /// Makes and uploads the layer that ends `image`, whose converted layers are `parts`; `None` where the format has
    /// none.
    ///
    /// # Errors
    /// A file system that the format cannot hold; those of the target's registry.
    #[instrument(skip_all, fields(image.digest = %image))]
    pub(crate) async fn end(&self, image: Digest, parts: &[Part]) -> Result<Option<Ending>, ConvertError> {
        if self.driver.merge().is_none() {
            return Ok(None);
        }
        let _open = self.open().await?;
        match self.again(|| Box::pin(self.merge(image, parts))).await {
            // A blob that was there a moment ago is gone: as if the manifest had named it in vain.
            Err(ConvertError::Registry(RegistryError::BlobNotFound(refused))) => {
                Err(RegistryError::ManifestBlobUnknown(refused).into())
            }
            ended => ended.map(Some),
        }
    }

    /// Reading, merging and uploading, joined: the error that is returned is the one that came first.
    async fn merge(&self, image: Digest, parts: &[Part]) -> Result<Ending, ConvertError> {
        let (mut bodies, uploading) = push::upload(&self.engine.bodies);
        let (driver, parts) = (Arc::clone(&self.driver), parts.to_vec());
        let mut blobs = Ranges::of(self.job.target.clone(), self.stop.clone());
        let merging = tokio::task::spawn_blocking(move || {
            let merge = driver.merge().ok_or(DriverError::Codec);
            let merged = merge.and_then(|merge| merge.merge(&parts, &mut blobs, &mut bodies));
            let ended = merged.and_then(|merged| bodies.end().map(|()| merged).map_err(DriverError::Output));
            (ended, blobs.failed)
        });
        let sending = uploading.run(&self.job.target, image, self.watch, &self.stop);
        let (sent, merged) = tokio::join!(sending, merging);
        let (merged, unread) = merged.map_err(|_| ConvertError::MergePanicked(image))?;
        match (unread, sent, merged) {
            (None, Ok(upload), Ok(merged)) => {
                if let Some(upload) = upload {
                    push::close(upload, merged.digest, &self.stop).await?;
                }
                self.ending(merged)
            }
            (Some(error), sent, _) => {
                push::cancel(sent.ok().flatten()).await;
                Err(error)
            }
            (None, Err(error), _) => Err(error),
            (None, Ok(upload), Err(source)) => {
                push::cancel(upload).await;
                Err(ConvertError::Image { image, source })
            }
        }
    }

    fn ending(&self, merged: Merged) -> Result<Ending, ConvertError> {
        let mut descriptor = Descriptor::new(merged.media_type, merged.digest, merged.size);
        descriptor.annotations = merged.annotations;
        let other = |blob: &Digest| self.dictionary.map(|dictionary| dictionary.layer(*blob));
        let other_blobs = merged.other_blobs.iter().filter_map(other).collect::<Result<_, _>>()?;
        Ok(Ending { descriptor, diff_id: merged.diff_id, other_blobs })
    }
}

/// Parts of blobs, for a thread that may block. A part has no digest: who reads it checks it.
struct Ranges {
    handle: Handle,
    end: End,
    stop: StopSignal,
    /// Why the last part could not be read; whoever reads it hears only that.
    failed: Option<ConvertError>,
}

impl Ranges {
    fn of(end: End, stop: StopSignal) -> Self {
        Self { handle: Handle::current(), end, stop, failed: None }
    }

    fn fetch(&mut self, blob: &Descriptor, from: u64, bytes: u64) -> io::Result<Bytes> {
        let reading = self.stop.unless(self.end.read_range(blob, from, bytes));
        self.handle.block_on(reading).map_err(|error| {
            self.failed = Some(error);
            io::Error::other("a part of a converted layer could not be read")
        })
    }
}

impl Blobs for Ranges {
    fn read(&mut self, part: &Part, from: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let blob = Descriptor::new("", part.digest, part.size);
        let end = from.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Box::new(RangeReader { ranges: self, blob, from, end, piece: Bytes::new() }))
    }
}

/// A part of a blob, piece by piece.
struct RangeReader<'r> {
    ranges: &'r mut Ranges,
    blob: Descriptor,
    from: u64,
    end: u64,
    piece: Bytes,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.from < self.end {
            let bytes = PIECE_BYTES.min(self.end - self.from);
            self.piece = self.ranges.fetch(&self.blob, self.from, bytes)?;
            self.from += bytes;
        }
        let count = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
