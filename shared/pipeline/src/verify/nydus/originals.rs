//! The chunks that a bootstrap names in layers of the source, found there by the indexes that the image has.

use std::collections::BTreeMap;

use accel_driver_nydus::REF_LAYER;
use accel_driver_nydus::reader::{Blob, Bootstrap, ChunkRef, FormatError, Inode, check_index};
use accel_image::{Descriptor, Digest};
use accel_registry::RegistryError;
use accel_stream::bridge;

use super::{Whole, or_fault_of_blob};
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::verify::layer::Ends;
use crate::verify::report::VerifyReport;

/// The chunks of every layer of the source that a bootstrap names, by their numbers.
pub(super) struct Named {
    blobs: Vec<(Blob, BTreeMap<u32, ChunkRef>)>,
    /// Chunks of which two files say different things.
    contradictions: u64,
}

impl Named {
    /// None yet, of the blobs of `bootstrap`.
    pub(super) fn of(bootstrap: &Bootstrap) -> Self {
        Self {
            blobs: bootstrap.blobs().iter().map(|blob| (blob.clone(), BTreeMap::new())).collect(),
            contradictions: 0,
        }
    }

    /// Notes the chunks of a file.
    pub(super) fn note(&mut self, inode: &Inode) {
        for chunk in &inode.chunks {
            let blob = self.blobs.get_mut(chunk.blob as usize);
            let known = blob.map(|(_, chunks)| chunks.entry(chunk.index).or_insert_with(|| *chunk) == chunk);
            self.contradictions += u64::from(known != Some(true));
        }
    }
}

impl Ends<'_> {
    /// Reads every index and every layer that it is of once, both from the target's registry, and compares the chunks.
    pub(super) async fn compare_originals(
        &self,
        whole: &Whole,
        named: Named,
        mut report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        if named.contradictions > 0 {
            let count = named.contradictions;
            report.differs(format!("{}: the bootstrap says different things of {count} chunks", whole.name));
        }
        check_references(whole, &named, &mut report);
        let mut unread: BTreeMap<Digest, &Descriptor> =
            whole.blobs().iter().map(|(index, _)| (index.digest, index)).collect();
        for (blob, chunks) in named.blobs {
            let index = whole.blobs().iter().find(|(layer, _)| Some(layer.digest) == blob.index);
            let original = whole.source.iter().find(|(layer, _)| layer.digest == blob.id);
            let (Some((index, _)), Some((original, _))) = (index, original) else {
                let what = "is no layer of the source with an index in the image";
                report.differs(format!("{}: the bootstrap names blob {}, which {what}", whole.name, blob.id));
                continue;
            };
            if blob.compressed_size != original.size {
                let (id, said) = (blob.id, blob.compressed_size);
                report.differs(format!(
                    "{}: the bootstrap says that blob {id} has {said} bytes, not its own",
                    whole.name
                ));
                continue;
            }
            report.bytes += index.size + original.size;
            report.chunks += chunks.len() as u64;
            unread.remove(&index.digest);
            let place = format!("{}: layer {}", whole.name, original.digest);
            report.add(self.compare_original(place, (index, original), blob, chunks, report.empty()).await?);
        }
        for index in unread.into_values() {
            report.bytes += index.size;
            if let Some(what) = self.fault_of_bytes(index).await? {
                report.differs(format!("{}: layer {}: {what}", whole.name, index.digest));
            }
        }
        Ok(report)
    }

    /// Reads a blob of the target for its digest alone.
    async fn fault_of_bytes(&self, blob: &Descriptor) -> Result<Option<RegistryError>, ConvertError> {
        let read = async {
            let mut download = self.target.open_blob(blob, 0).await?;
            while download.next().await?.is_some() {}
            Ok(())
        };
        Ok(or_fault_of_blob(read.await)?.err())
    }

    /// Notes what is wrong with an index in `found`, which is empty.
    async fn compare_original(
        &self,
        place: String,
        (index, original): (&Descriptor, &Descriptor),
        blob: Blob,
        chunks: BTreeMap<u32, ChunkRef>,
        mut found: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        let (index_sender, mut index_reader) = bridge::channel(DEPTH);
        let (sender, mut reader) = bridge::channel(DEPTH);
        let (limits, said, mut worked) = (self.limits, place.clone(), found.clone());
        let work = tokio::task::spawn_blocking(move || {
            let mut wrong = |what| worked.differs(format!("{said}: {what}"));
            let checked = check_index(&blob, &chunks, &mut index_reader, &mut reader, limits, &mut wrong);
            match checked {
                Ok(()) => {}
                Err(fault @ FormatError::Stream(_)) if !fault.is_of_the_source() => wrong(fault.to_string()),
                Err(fault) => wrong(format!("its index: {fault}")),
            }
            // The rest only for the digests, which the other sides of the bridges compare.
            for rest in [&mut index_reader as &mut dyn std::io::Read, &mut reader] {
                drop(std::io::copy(rest, &mut std::io::sink()));
            }
            worked
        });
        let index_fed = feed(self.target, index, 0, index_sender, |_| ());
        let (index_fed, fed, worked) = tokio::join!(index_fed, feed(self.target, original, 0, sender, |_| ()), work);
        let worked = worked.map_err(|_| ConvertError::Panicked(original.digest))?;
        for fed in [index_fed, fed] {
            if let Err(error) = or_fault_of_blob(fed)? {
                found.differs(format!("{place}: {error}"));
                return Ok(found);
            }
        }
        Ok(worked)
    }
}

/// Whether every index stands in the place of a layer of the source, says so, and is the one that the bootstrap names for that,
/// if it names one.
fn check_references(whole: &Whole, named: &Named, report: &mut VerifyReport) {
    for (at, (index, _)) in whole.blobs().iter().enumerate() {
        let (name, digest) = (&whole.name, index.digest);
        let Some((original, _)) = whole.source.get(at) else {
            report.differs(format!("{name}: layer {digest} stands for no layer of the source"));
            continue;
        };
        let original = original.digest;
        if index.annotations.get(REF_LAYER).is_none_or(|said| *said != original.to_string()) {
            report.differs(format!("{name}: layer {digest} does not say that it is the index into layer {original}"));
        } else if named.blobs.iter().any(|(blob, _)| blob.id == original && blob.index != Some(digest)) {
            report.differs(format!("{name}: layer {digest} is not what the bootstrap names as index into {original}"));
        }
    }
}
