//! Which layer of the source each blob stands for. Blobs stand in the order of the layers, with those of a chunk dictionary
//! behind them, and a file's content lies in the blob of its layer or in the dictionary. So a blob that has nothing of its
//! layer, though files of that are left, has to say itself that it was made of them: else it is a stray one, or its neighbour.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use accel_driver_nydus::reader::{Bootstrap, FormatError, Inode, OwnBootstrap, Version};
use accel_image::{Descriptor, Digest};
use accel_stream::{Limits, bridge};

use super::Whole;
use super::overlay::Overlay;
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::verify::layer::Ends;
use crate::verify::report::VerifyReport;

/// What is read of a blob's own bootstrap at the most.
const MOST_BYTES: u64 = 1 << 30;

/// By layer of the source, the blobs in which its files lie, those that are left of it.
#[derive(Default)]
pub(super) struct Origins(BTreeMap<u32, BTreeSet<u32>>);

/// A blob that may stand for another layer than that of its place.
pub(super) struct Doubt {
    /// Its place, and that of the layer.
    at: usize,
    /// Chunks that files of the layer have.
    chunks: HashSet<Digest>,
}

impl Doubt {
    pub(super) fn blob<'w>(&self, whole: &'w Whole) -> &'w Descriptor {
        &whole.target[self.at].0
    }
}

impl Origins {
    /// Notes a file of a layer, which the overlay counts from 1.
    pub(super) fn note(&mut self, layer: u32, inode: &Inode) {
        if !inode.chunks.is_empty() {
            self.0.entry(layer).or_default().extend(inode.chunks.iter().map(|chunk| chunk.blob));
        }
    }

    /// The blobs that have nothing of the layers in whose place they stand.
    pub(super) fn doubts(&self, whole: &Whole, bootstrap: &Bootstrap, overlay: &Overlay, limits: Limits) -> Vec<Doubt> {
        let mut doubts: BTreeMap<u32, Doubt> = BTreeMap::new();
        for (layer, (at, (blob, _))) in (1..).zip(whole.blobs().iter().take(whole.source.len()).enumerate()) {
            let named = |number: &u32| bootstrap.blobs().get(*number as usize).map(|blob| blob.id);
            let Some(numbers) = self.0.get(&layer) else { continue };
            if !numbers.iter().filter_map(named).any(|id| id == blob.digest) {
                doubts.insert(layer, Doubt { at, chunks: HashSet::new() });
            }
        }
        if !doubts.is_empty() {
            // What is wrong with the bootstrap was said when it was walked first.
            drop(bootstrap.walk(limits, &mut |path, inode| {
                if let Some(doubt) = overlay.origin(path).and_then(|layer| doubts.get_mut(&layer)) {
                    doubt.chunks.extend(inode.chunks.iter().map(|chunk| chunk.digest));
                }
            }));
        }
        doubts.into_values().collect()
    }
}

impl Ends<'_> {
    /// Reads the own bootstraps of blobs in doubt.
    pub(super) async fn check_doubts(
        &self,
        whole: &Whole,
        version: Version,
        doubts: Vec<Doubt>,
        mut report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        for doubt in doubts {
            let (blob, (layer, _)) = (doubt.blob(whole), &whole.source[doubt.at]);
            let what = match self.fault_of_claim(blob, version, doubt.chunks).await {
                Err(ConvertError::Registry(error)) if error.is_of_the_blob() => {
                    report.differs(format!("{}: layer {}: {error}", whole.name, blob.digest));
                    continue;
                }
                claim => claim?,
            };
            let Some(what) = what else { continue };
            let (name, blob, layer) = (&whole.name, blob.digest, layer.digest);
            report.differs(format!(
                "{name}: layer {blob} does not stand for layer {layer} of the source: no file of that lies in it, and {what}"
            ));
        }
        Ok(report)
    }

    /// What is wrong, in words, with the own bootstrap of a blob, which has to have files with all of these chunks.
    async fn fault_of_claim(
        &self,
        blob: &Descriptor,
        version: Version,
        mut chunks: HashSet<Digest>,
    ) -> Result<Option<String>, ConvertError> {
        let tail_bytes = blob.size.min(OwnBootstrap::tail_bytes(version));
        let tail = self.target.read_range(blob, blob.size - tail_bytes, tail_bytes).await?;
        let own = match OwnBootstrap::find(version, &tail, blob.size) {
            Ok(own) if own.bytes() > MOST_BYTES => return Ok(Some("its bootstrap is larger than 1 GiB".to_owned())),
            Ok(own) => own,
            Err(fault) => return Ok(Some(fault.to_string())),
        };
        let (sender, mut reader) = bridge::channel(DEPTH);
        let (from, limits) = (own.offset(), self.limits);
        let work = tokio::task::spawn_blocking(move || {
            let bootstrap = own.read(&mut reader);
            drop(io::copy(&mut reader, &mut io::sink()));
            bootstrap?.walk(limits, &mut |_, inode| {
                inode.chunks.iter().for_each(|chunk| {
                    chunks.remove(&chunk.digest);
                });
            })?;
            Ok::<_, FormatError>(chunks.is_empty())
        });
        let (fed, worked) = tokio::join!(feed(self.target, blob, from, sender, |_| ()), work);
        fed?;
        Ok(match worked.map_err(|_| ConvertError::Panicked(blob.digest))? {
            Ok(true) => None,
            Ok(false) => Some("its own bootstrap does not name their chunks".to_owned()),
            Err(fault) => Some(fault.to_string()),
        })
    }
}
