//! The chunks that a bootstrap names in layers of the source, found there by the indexes that the image has.

use std::collections::BTreeMap;

use accel_driver_nydus::REF_LAYER;
use accel_driver_nydus::reader::{Blob, Bootstrap, ChunkRef, FormatError, Inode, check_index};
use accel_image::Descriptor;
use accel_registry::RegistryError;
use accel_stream::bridge;

use super::Whole;
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
        check_references(whole, &mut report);
        for (blob, chunks) in named.blobs {
            let index = whole.target.iter().find(|(layer, _)| Some(layer.digest) == blob.index);
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
            for what in self.compare_original(index, original, blob, chunks).await? {
                report.differs(format!("{}: layer {}: {what}", whole.name, original.digest));
            }
        }
        Ok(report)
    }

    /// What is wrong with an index, in words.
    async fn compare_original(
        &self,
        index: &Descriptor,
        original: &Descriptor,
        blob: Blob,
        chunks: BTreeMap<u32, ChunkRef>,
    ) -> Result<Vec<String>, ConvertError> {
        let (index_sender, mut index_reader) = bridge::channel(DEPTH);
        let (sender, mut reader) = bridge::channel(DEPTH);
        let limits = self.limits;
        let work = tokio::task::spawn_blocking(move || {
            let mut wrong = Vec::new();
            let mut note = |what| wrong.push(what);
            let checked = check_index(&blob, &chunks, &mut index_reader, &mut reader, limits, &mut note);
            // The rest only for the digests, which the other sides of the bridges compare.
            for rest in [&mut index_reader as &mut dyn std::io::Read, &mut reader] {
                drop(std::io::copy(rest, &mut std::io::sink()));
            }
            checked.map(|()| wrong)
        });
        let index_fed = feed(self.target, index, 0, index_sender, |_| ());
        let (index_fed, fed, worked) = tokio::join!(index_fed, feed(self.target, original, 0, sender, |_| ()), work);
        let checked = worked.map_err(|_| ConvertError::Panicked(original.digest))?;
        for fed in [index_fed, fed] {
            match fed {
                // A blob that the target's registry has is not what its digest says, or it is not there.
                Err(error @ (RegistryError::Mismatch { .. } | RegistryError::BlobNotFound(_))) => {
                    return Ok(vec![error.to_string()]);
                }
                fed => fed?,
            }
        }
        Ok(match checked {
            Ok(wrong) => wrong,
            Err(fault @ FormatError::Stream(_)) if !fault.is_of_the_source() => vec![fault.to_string()],
            Err(fault) => vec![format!("its index: {fault}")],
        })
    }
}

/// Whether every index says which layer of the source it is of, in their order.
fn check_references(whole: &Whole, report: &mut VerifyReport) {
    let indexes = whole.target.split_last().map_or(&[][..], |(_, indexes)| indexes);
    for ((index, _), (original, _)) in indexes.iter().zip(&whole.source) {
        if index.annotations.get(REF_LAYER).is_none_or(|said| *said != original.digest.to_string()) {
            report.differs(format!(
                "{}: layer {} does not say that it is the index into layer {}",
                whole.name, index.digest, original.digest
            ));
        }
    }
}
