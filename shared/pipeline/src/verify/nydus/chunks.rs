//! The chunks that a bootstrap names, compared with the blobs that hold them.

use std::collections::BTreeMap;

use accel_driver_nydus::reader::{Bootstrap, ChunkRef, Compressor, InBatch, Inode, Version};
use accel_image::{Descriptor, Digest};
use accel_stream::bridge;

use super::blob::compare;
use super::layers::Doubt;
use super::stored::Stored;
use super::{Whole, or_fault_of_blob, originals};
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::verify::layer::Ends;
use crate::verify::report::VerifyReport;

/// The chunks of a blob by their place in it and that in a batch.
type ByPlace = BTreeMap<(u64, u32), ChunkRef>;

/// The chunks of every blob that a bootstrap names.
pub(super) struct Chunks {
    version: Version,
    stored: Stored,
    blobs: Vec<(Digest, ByPlace)>,
    /// Chunks of which two files say different things.
    contradictions: u64,
    /// Chunks of files whose place is not said.
    unsaid: u64,
    /// Instead of all that, where the blobs are layers of the source.
    originals: Option<originals::Named>,
}

impl Chunks {
    /// None yet, of the blobs of `bootstrap`.
    pub(super) fn of(bootstrap: &Bootstrap) -> Self {
        let blobs = bootstrap.blobs().iter().map(|blob| (blob.id, ByPlace::new())).collect();
        let originals = (bootstrap.compressor() == Compressor::Gzip).then(|| originals::Named::of(bootstrap));
        let (version, stored) = (bootstrap.version(), Stored::of(bootstrap));
        Self { version, stored, blobs, contradictions: 0, unsaid: 0, originals }
    }

    /// Whether they lie in layers of the source.
    pub(super) const fn are_in_originals(&self) -> bool {
        self.originals.is_some()
    }

    /// Notes the chunks of a file.
    pub(super) fn note(&mut self, inode: &Inode) {
        if let Some(originals) = &mut self.originals {
            originals.note(inode);
            return;
        }
        for chunk in &inode.chunks {
            if chunk.compressed_size == 0 {
                self.unsaid += 1;
                continue;
            }
            let place = (chunk.compressed_offset, chunk.batch.map_or(0, InBatch::offset));
            let known = self
                .blobs
                .get_mut(chunk.blob as usize)
                .map(|(_, chunks)| chunks.entry(place).or_insert_with(|| *chunk) == chunk);
            self.contradictions += u64::from(known != Some(true));
        }
    }
}

impl Ends<'_> {
    /// Reads every blob of the image once, and compares the chunks in it. Together the chunks become no more than
    /// `source_bytes`, which the source's layers have.
    pub(super) async fn compare_blobs(
        &self,
        whole: &Whole,
        mut chunks: Chunks,
        source_bytes: u64,
        mut doubts: Vec<Doubt>,
        mut report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        if let Some(named) = chunks.originals.take() {
            return self.compare_originals(whole, named, report).await;
        }
        if chunks.contradictions > 0 {
            let count = chunks.contradictions;
            report.differs(format!("{}: the bootstrap says different things of {count} chunks", whole.name));
        }
        if chunks.unsaid > 0 {
            let count = chunks.unsaid;
            report.differs(format!(
                "{}: the bootstrap does not say where {count} chunks are that are in batches: another tool has made it, \
                 and what is in those files cannot be compared",
                whole.name
            ));
        }
        let blobs = whole.blobs();
        for (id, _) in &chunks.blobs {
            if !blobs.iter().any(|(layer, _)| layer.digest == *id) {
                report
                    .differs(format!("{}: the bootstrap names blob {id}, which is no layer of the image", whole.name));
            }
        }
        let mut left = source_bytes;
        for (at, (layer, _)) in blobs.iter().enumerate() {
            let is_again = blobs[..at].iter().any(|(before, _)| before.digest == layer.digest);
            let named = chunks.blobs.iter_mut().find(|(id, _)| *id == layer.digest);
            let named = named.map(|(_, chunks)| std::mem::take(chunks)).unwrap_or_default();
            let is_behind = at >= whole.source.len(); // there are blobs of the dictionary alone
            if is_behind && is_again {
                let what = "is there once more, and stands for no layer of the source";
                report.differs(format!("{}: layer {} {what}", whole.name, layer.digest));
            } else if is_behind && named.is_empty() {
                let what = "stands for no layer of the source, and the bootstrap does not name it for any file";
                report.differs(format!("{}: layer {} {what}", whole.name, layer.digest));
            }
            if is_again {
                continue;
            }
            report.bytes += layer.size;
            report.chunks += named.len() as u64;
            let place = format!("{}: layer {}", whole.name, layer.digest);
            let named = named.into_values().collect();
            let found;
            (found, left) = self.compare_blob(place, layer, (chunks.stored, named, left), report.empty()).await?;
            if !found.is_right() {
                doubts.retain(|doubt| doubt.blob(whole).digest != layer.digest); // it is wrong, wherever it stands
            }
            report.add(found);
        }
        self.check_doubts(whole, chunks.version, doubts, report).await
    }

    /// Notes what is wrong with a blob in `found`, which is empty; with it comes back what is left of the bytes that its chunks
    /// may become.
    async fn compare_blob(
        &self,
        place: String,
        layer: &Descriptor,
        (stored, chunks, most): (Stored, Vec<ChunkRef>, u64),
        mut found: VerifyReport,
    ) -> Result<(VerifyReport, u64), ConvertError> {
        let (sender, reader) = bridge::channel(DEPTH);
        let (said, mut worked) = (place.clone(), found.clone());
        let work = tokio::task::spawn_blocking(move || {
            let left = compare(reader, stored, &chunks, most, &mut |what| worked.differs(format!("{said}: {what}")));
            (worked, left)
        });
        let (fed, worked) = tokio::join!(feed(self.target, layer, 0, sender, |_| ()), work);
        match or_fault_of_blob(fed)? {
            Ok(()) => worked.map_err(|_| ConvertError::Panicked(layer.digest)),
            Err(error) => {
                found.differs(format!("{place}: {error}"));
                Ok((found, most))
            }
        }
    }
}
