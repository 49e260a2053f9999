//! A Nydus image beside its source. The layers of the source are applied onto each other, each read once; then every
//! path of the bootstrap is struck off, with all that its inode says; then every chunk that it names is compared with the
//! digest that it has there, each blob read once. Contents are compared by the digests of their chunks.

mod blob;
mod chunks;
mod facts;
mod layers;
mod originals;
mod overlay;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use accel_driver::DriverError;
use accel_driver_nydus::reader::{Bootstrap, Inode};
use accel_driver_nydus::{BLOB, BOOTSTRAP, FS_VERSION};
use accel_image::{Descriptor, Digest, Hasher, media_type};
use accel_registry::RegistryError;
use accel_stream::{Entry, EntryKind, LayerReader, LayerSums, Limits, StreamError, TarReader, bridge};

use super::layer::{Ends, shown};
use super::report::VerifyReport;
use crate::bootstrap;
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::watch::{Event, LayerEnd};
use chunks::Chunks;
use facts::{Content, Facts, Sum};
use layers::{Doubt, Origins};
use overlay::{Found, Overlay, Refused};

/// Payload of the source that is hashed at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// Both sides of an image: layers with their diff ids, bottom first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    /// For messages: `linux/amd64`.
    pub(super) name: String,
    pub(super) source: Vec<(Descriptor, Digest)>,
    pub(super) target: Vec<(Descriptor, Digest)>,
}

impl Whole {
    /// All layers of the target but the one with the bootstrap.
    fn blobs(&self) -> &[(Descriptor, Digest)] {
        self.target.split_last().map_or(&[], |(_, blobs)| blobs)
    }
}

/// What the pass over a bootstrap leaves behind.
struct Struck {
    chunks: Chunks,
    doubts: Vec<Doubt>,
    report: VerifyReport,
}

impl Ends<'_> {
    /// Compares an image; `report` comes back with what was found.
    pub(super) async fn compare_whole(
        &self,
        whole: &Whole,
        mut report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        check_layers(whole, &mut report);
        let Some((last, said)) = whole.target.last() else { return Ok(report) };
        let seen = |bytes| self.watch.event(&Event::LayerRead { layer: last.digest, bytes });
        let read = match bootstrap::read(self.target, last, self.limits, seen).await? {
            Ok(read) => read,
            Err(what) => {
                report.differs(format!("{}: the bootstrap layer: {what}", whole.name));
                return Ok(report); // what comes after it was not looked at
            }
        };
        if read.diff_id != *said {
            report.differs(format!("{}: the bootstrap layer has another diff id than the image says", whole.name));
        }
        let said = last.annotations.get(FS_VERSION);
        if said.is_some_and(|said| *said != read.bootstrap.version().number().to_string()) {
            report.differs(format!("{}: the bootstrap is of another version of RAFS than it says", whole.name));
        }
        let bootstrap = Arc::new(read.bootstrap);
        if !bootstrap.has_sha256() {
            let what = "its chunks have digests of another kind than SHA-256: another tool has made it";
            report.differs(format!("{}: {what}, and what is in its files cannot be compared", whole.name));
            return Ok(report); // what comes after it was not looked at
        }
        report.bytes += last.size;
        let mut overlay = Overlay::new(self.limits.entries);
        let mut source_bytes = 0_u64;
        for (layer, diff_id) in &whole.source {
            let bytes;
            (overlay, report, bytes) = self.apply(whole, (layer, *diff_id), &bootstrap, overlay, report).await?;
            source_bytes = source_bytes.saturating_add(bytes);
        }
        let Struck { chunks, doubts, report } = self.strike(whole, bootstrap, overlay, report).await?;
        self.compare_blobs(whole, chunks, source_bytes, doubts, report).await
    }

    /// Applies a layer of the source; says how many bytes it has uncompressed.
    async fn apply(
        &self,
        whole: &Whole,
        (layer, diff_id): (&Descriptor, Digest),
        bootstrap: &Bootstrap,
        mut overlay: Overlay,
        mut report: VerifyReport,
    ) -> Result<(Overlay, VerifyReport, u64), ConvertError> {
        self.watch.event(&Event::LayerStarted { layer: layer.digest, size: layer.size });
        let (sender, reader) = bridge::channel(DEPTH);
        let (limits, chunk_bytes, name) = (self.limits, bootstrap.chunk_size(), whole.name.clone());
        let work = tokio::task::spawn_blocking(move || {
            overlay.begin_layer();
            let sums = walk(reader, limits, chunk_bytes, |entry, content| match overlay.apply(entry, content) {
                Err(Refused::TooMany(limit)) => Err(StreamError::TooManyEntries { limit }),
                Err(impossible @ Refused::Impossible(_)) => {
                    report.differs(format!("{name}: {}: {impossible}, in the source", shown(&entry.path)));
                    Ok(())
                }
                Ok(()) => Ok(()),
            })?;
            Ok::<_, StreamError>((overlay, report, sums))
        });
        let seen = |bytes| self.watch.event(&Event::LayerRead { layer: layer.digest, bytes });
        let (fed, worked) = tokio::join!(feed(self.source, layer, 0, sender, seen), work);
        fed?;
        let worked = worked.map_err(|_| ConvertError::Panicked(layer.digest))?;
        let layer_error = |error| ConvertError::Layer { layer: layer.digest, source: DriverError::Source(error) };
        let (overlay, mut report, sums) = worked.map_err(layer_error)?;
        if sums.diff_id != diff_id {
            report.differs(format!(
                "{}: the source's layer {} has another diff id than its configuration says",
                whole.name, layer.digest
            ));
        }
        report.layers_checked += 1;
        self.watch.event(&Event::LayerDone { layer: layer.digest, end: LayerEnd::Converted, reason: "" });
        Ok((overlay, report, sums.uncompressed_bytes))
    }

    /// Strikes off every path of the bootstrap, and names what is left.
    async fn strike(
        &self,
        whole: &Whole,
        bootstrap: Arc<Bootstrap>,
        overlay: Overlay,
        report: VerifyReport,
    ) -> Result<Struck, ConvertError> {
        let (whole, limits) = (whole.clone(), self.limits);
        let image = whole.target.last().map_or(report.target, |(layer, _)| layer.digest);
        let work = tokio::task::spawn_blocking(move || strike(&whole, limits, &bootstrap, overlay, report));
        work.await.map_err(|_| ConvertError::Panicked(image))
    }
}

/// Whether the layers are those that a Nydus image has, as far as its documents say.
fn check_layers(whole: &Whole, report: &mut VerifyReport) {
    let Some(((last, _), blobs)) = whole.target.split_last() else { return };
    let is_layer = |layer: &Descriptor| layer.media_type == media_type::OCI_LAYER_GZIP;
    if !is_layer(last) || last.annotations.get(BOOTSTRAP).is_none_or(|value| value != "true") {
        report.differs(format!("{}: the last layer is no bootstrap layer of OCI's type", whole.name));
    }
    for (layer, diff_id) in blobs {
        let rows = [
            ("is not of the type of Nydus's blobs", layer.media_type == media_type::NYDUS_BLOB),
            (
                "does not say that it is a blob of Nydus's",
                layer.annotations.get(BLOB).is_some_and(|value| value == "true"),
            ),
            ("has another diff id than its digest", *diff_id == layer.digest),
        ];
        for (what, _) in rows.iter().filter(|(_, holds)| !holds) {
            report.differs(format!("{}: layer {} {what}", whole.name, layer.digest));
        }
    }
}

/// Shows every entry of a layer of the source, files with the digest of their chunks.
fn walk(
    blob: impl std::io::Read,
    limits: Limits,
    chunk_bytes: u64,
    mut each: impl FnMut(&Entry, Option<Sum>) -> Result<(), StreamError>,
) -> Result<LayerSums, StreamError> {
    let mut tar = TarReader::new(LayerReader::new(blob, limits), limits);
    let mut block = vec![0; BLOCK_BYTES];
    while let Some(entry) = tar.next_entry()? {
        if entry.kind == EntryKind::GlobalHeader {
            continue;
        }
        let is_file = entry.kind == EntryKind::Regular;
        let mut content = Content::default();
        let mut chunk = Hasher::default();
        while is_file && tar.payload_left() > 0 {
            let room = usize::try_from(chunk_bytes - chunk.bytes()).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            let got = tar.read_payload(&mut block[..room])?;
            chunk.update(&block[..got]);
            if chunk.bytes() == chunk_bytes || tar.payload_left() == 0 {
                content.chunk(std::mem::take(&mut chunk).finish());
            }
        }
        each(tar.entry(), is_file.then(|| content.sum()))?;
    }
    tar.into_inner().finish()
}

/// What was read of a blob of the target's registry, or the error that says that the blob is not what its digest says, or not
/// there.
fn or_fault_of_blob<T>(read: Result<T, RegistryError>) -> Result<Result<T, RegistryError>, ConvertError> {
    match read {
        Err(error) if error.is_of_the_blob() => Ok(Err(error)),
        read => Ok(Ok(read?)),
    }
}

/// The comparison of all paths. Synchronous.
fn strike(
    whole: &Whole,
    limits: Limits,
    bootstrap: &Bootstrap,
    mut overlay: Overlay,
    mut report: VerifyReport,
) -> Struck {
    let name = &whole.name;
    let (mut ids, mut links) = (HashMap::new(), BTreeMap::new());
    let (mut chunks, mut origins, mut sums) = (Chunks::of(bootstrap), Origins::default(), Sums::default());
    let walked = bootstrap.walk(limits, &mut |path, inode| {
        report.entries += 1;
        let found = overlay.strike(path, inode.nid, sums.of(inode), &mut ids);
        let what = match found {
            Found::Same => None,
            Found::Extra => Some("the source does not have it"),
            Found::Again => Some("the target has it twice"),
            Found::Other => Some("the source has other content, metadata or another link target"),
            Found::LinkedOtherwise => Some("it is one file with other paths than in the source"),
        };
        if let Some(what) = what {
            report.differs(format!("{name}: /{}: {what}", shown(path)));
        }
        if inode.kind != EntryKind::Directory && inode.nlink != 1 {
            links.insert(inode.nid, (inode.nlink, shown(path)));
        }
        chunks.note(inode);
        if let Some(layer) = overlay.origin(path) {
            origins.note(layer, inode);
        }
    });
    if let Err(fault) = walked {
        report.differs(format!("{name}: the bootstrap: {fault}"));
    }
    let counted = overlay.links();
    for (id, count) in counted.iter().filter(|(_, count)| **count > 1) {
        links.entry(*id).or_insert_with(|| (1, format!("a file of {count} paths")));
    }
    for (id, (nlink, path)) in links {
        if counted.get(&id).is_some_and(|count| *count != nlink) {
            report.differs(format!("{name}: /{path}: its link count is {nlink}, and it has {} paths", counted[&id]));
        }
    }
    overlay.missing(|path| report.differs(format!("{name}: /{}: the target does not have it", shown(path))));
    let doubts = match chunks.are_in_originals() {
        true => Vec::new(),
        false => origins.doubts(whole, bootstrap, &overlay, limits),
    };
    Struck { chunks, doubts, report }
}

/// What is said of inodes with several names, by their numbers: only under the first all of it is there.
#[derive(Default)]
struct Sums(HashMap<u64, Sum>);

impl Sums {
    fn of(&mut self, inode: &Inode) -> Sum {
        match self.0.get(&inode.nid).filter(|_| inode.is_again) {
            Some(known) => *known,
            None => {
                let sum = sum_of(inode);
                if inode.nlink != 1 && inode.kind != EntryKind::Directory {
                    self.0.insert(inode.nid, sum);
                }
                sum
            }
        }
    }
}

fn sum_of(inode: &Inode) -> Sum {
    let content = (inode.kind == EntryKind::Regular).then(|| {
        let mut content = Content::default();
        inode.chunks.iter().for_each(|chunk| content.chunk(chunk.digest));
        content.sum()
    });
    Facts::of_inode(inode).sum(content)
}
