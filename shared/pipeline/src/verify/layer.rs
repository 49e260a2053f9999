//! One pair of layers: the source's is read first, then the target's beside its TOC.

use std::io::Read;

use accel_driver::DriverError;
use accel_driver_estargz::reader::{CheckedBlob, FormatError, check_blob, clean_path, is_own_name, toc_offset};
use accel_driver_estargz::{FOOTER_BYTES, TOC_DIGEST, UNCOMPRESSED_SIZE};
use accel_image::{Descriptor, Digest, Hasher, media_type};
use accel_registry::{End, LayoutError, RegistryError};
use accel_stream::bridge;
use accel_stream::{Entry, EntryKind, LayerReader, LayerSums, Limits, StreamError, TarReader};

use super::documents::Pair;
use super::files::{Files, Found};
use super::report::VerifyReport;
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::watch::{Event, LayerEnd, Observer};

/// Payload of the source that is hashed at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// Both sides, and what the comparison of all pairs shares.
pub(super) struct Ends<'a> {
    pub(super) source: &'a End,
    pub(super) target: &'a End,
    pub(super) limits: Limits,
    pub(super) watch: &'a dyn Observer,
}

/// A blocking pass over a layer of the source: what it left behind, and what the layer turned out to be.
type Passed<T> = Result<(T, LayerSums), ConvertError>;

impl Ends<'_> {
    /// Compares a pair; `report` comes back with what was found.
    pub(super) async fn compare(&self, pair: &Pair, mut report: VerifyReport) -> Result<VerifyReport, ConvertError> {
        let layer = pair.source.digest;
        self.watch.event(&Event::LayerStarted { layer, size: pair.source.size });
        let end = if layer == pair.target.digest {
            compare_kept(pair, &mut report);
            LayerEnd::Kept
        } else {
            report = self.compare_converted(pair, report).await?;
            LayerEnd::Converted
        };
        self.watch.event(&Event::LayerDone { layer, end, reason: "" });
        Ok(report)
    }

    async fn compare_converted(&self, pair: &Pair, mut report: VerifyReport) -> Result<VerifyReport, ConvertError> {
        report.layers_checked += 1;
        let toc_digest = match promised_toc(pair) {
            Ok(digest) => digest,
            Err(what) => return Ok(differing(pair, report, &what)),
        };
        let places = match self.footer(&pair.target).await? {
            Ok(places) => places,
            Err(fault) => return Ok(differing(pair, report, &fault.to_string())),
        };
        let (files, sums) = self.pass_source(pair, Files::default(), Files::note).await?;
        if sums.diff_id != pair.source_diff_id {
            report = differing(pair, report, "the source's layer has another diff id than its configuration says");
        }
        let (files, checked, mut report) = self.pass_target(pair, places, files, report).await?;
        match checked {
            Ok(checked) => compare_sums(pair, toc_digest, &checked, &mut report),
            Err(fault) => return Ok(differing(pair, report, &fault)), // what comes after it was not looked at
        }
        if files.missing() == 0 { Ok(report) } else { self.name_missing(pair, files, report).await }
    }

    /// Where the footer says that TOC and footer are.
    async fn footer(&self, layer: &Descriptor) -> Result<Result<(u64, u64), FormatError>, RegistryError> {
        let bytes = layer.size.min(FOOTER_BYTES as u64);
        let tail = self.target.read_range(layer, layer.size - bytes, bytes).await?;
        Ok(toc_offset(&tail, layer.size))
    }

    /// Reads the source's layer once more, for the names of what the target does not have.
    async fn name_missing(
        &self,
        pair: &Pair,
        files: Files,
        report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        let state = (files, report, pair.name.clone());
        let name = |(files, report, layer): &mut (Files, VerifyReport, String), entry: &Entry, _: Option<Digest>| {
            if files.is_missing(&entry.path) {
                report.differs(format!("{layer}: {}: the target does not have it", shown(&entry.path)));
            }
        };
        let ((_, report, _), _) = self.pass_source(pair, state, name).await?;
        Ok(report)
    }

    /// Reads the source's layer and shows its entries to `each`, without those that only the format may have.
    async fn pass_source<T: Send + 'static>(
        &self,
        pair: &Pair,
        mut state: T,
        each: fn(&mut T, &Entry, Option<Digest>),
    ) -> Passed<T> {
        let layer = pair.source.digest;
        let (sender, reader) = bridge::channel(DEPTH);
        let limits = self.limits;
        let work = tokio::task::spawn_blocking(move || {
            let sums = walk(reader, limits, |entry, content| each(&mut state, entry, content))?;
            Ok::<_, StreamError>((state, sums))
        });
        let seen = |bytes| self.watch.event(&Event::LayerRead { layer, bytes });
        let (fed, worked) = tokio::join!(feed(self.source, &pair.source, 0, sender, seen), work);
        fed?;
        let worked = worked.map_err(|_| ConvertError::Panicked(layer))?;
        worked.map_err(|error| ConvertError::Layer { layer, source: DriverError::Source(error) })
    }

    /// Reads the target's layer beside its TOC, and strikes off its entries.
    async fn pass_target(
        &self,
        pair: &Pair,
        places: (u64, u64),
        mut files: Files,
        mut report: VerifyReport,
    ) -> Result<(Files, Result<CheckedBlob, String>, VerifyReport), ConvertError> {
        let (layer, name, limits) = (pair.source.digest, pair.name.clone(), self.limits);
        let (blob_sender, blob) = bridge::channel(DEPTH);
        let (toc_sender, toc) = bridge::channel(DEPTH);
        let work = tokio::task::spawn_blocking(move || {
            let checked = check_blob(blob, toc, places, limits, &mut |entry, content| {
                let what = match files.find(entry, content) {
                    Found::Same => return,
                    Found::Extra => "the source does not have it",
                    Found::Again => "the target has it twice",
                    Found::Dangling => "it is a hard link to a path that the target does not have before it",
                    Found::Other => "the source has other content, metadata or another link target",
                };
                report.differs(format!("{name}: {}: {what}", shown(&entry.path)));
            });
            (files, checked, report)
        });
        let seen = |bytes| self.watch.event(&Event::LayerRead { layer, bytes });
        let (blob_fed, toc_fed, worked) = tokio::join!(
            feed(self.target, &pair.target, 0, blob_sender, seen),
            feed(self.target, &pair.target, places.0, toc_sender, |_| ()),
            work
        );
        let (files, checked, report) = worked.map_err(|_| ConvertError::Panicked(layer))?;
        let checked = match (blob_fed.and(toc_fed), checked) {
            // The blob that the target's registry has is not the blob that its manifest names.
            (
                Err(error @ (RegistryError::Mismatch { .. } | RegistryError::Layout(LayoutError::Mismatch { .. }))),
                _,
            ) => Err(error.to_string()),
            (Err(error), _) => return Err(error.into()),
            (Ok(()), checked) => checked.map_err(|fault| fault.to_string()),
        };
        Ok((files, checked, report))
    }
}

/// Shows every entry of a layer that is not the format's own, files with the digest of their content.
fn walk(
    blob: impl Read,
    limits: Limits,
    mut each: impl FnMut(&Entry, Option<Digest>),
) -> Result<LayerSums, StreamError> {
    let mut tar = TarReader::new(LayerReader::new(blob, limits), limits);
    let mut block = vec![0; BLOCK_BYTES];
    while let Some(entry) = tar.next_entry()? {
        if entry.kind == EntryKind::GlobalHeader || is_own_name(&clean_path(&entry.path)) {
            continue;
        }
        let mut content = (entry.kind == EntryKind::Regular).then(Hasher::default);
        while let Some(hasher) = content.as_mut().filter(|_| tar.payload_left() > 0) {
            let got = tar.read_payload(&mut block)?;
            hasher.update(&block[..got]);
        }
        each(tar.entry(), content.map(Hasher::finish));
    }
    tar.into_inner().finish()
}

fn differing(pair: &Pair, mut report: VerifyReport, what: &str) -> VerifyReport {
    report.differs(format!("{}: {what}", pair.name));
    report
}

/// The digest that the layer's descriptor promises for the TOC.
fn promised_toc(pair: &Pair) -> Result<Digest, String> {
    if pair.target.media_type != media_type::OCI_LAYER_GZIP {
        return Err(format!("it is of type `{}`, not a gzip layer of OCI's", pair.target.media_type));
    }
    let annotation = pair.target.annotations.get(TOC_DIGEST);
    let digest = annotation.ok_or_else(|| format!("its descriptor has no annotation `{TOC_DIGEST}`"))?;
    digest.parse().map_err(|error| format!("annotation `{TOC_DIGEST}`: {error}"))
}

fn compare_sums(pair: &Pair, toc_digest: Digest, checked: &CheckedBlob, report: &mut VerifyReport) {
    report.entries += checked.entries;
    report.chunks += checked.chunks;
    report.bytes += checked.size;
    let size = pair.target.annotations.get(UNCOMPRESSED_SIZE);
    let rows = [
        ("digest", checked.digest == pair.target.digest),
        ("size", checked.size == pair.target.size),
        ("diff id", checked.diff_id == pair.target_diff_id),
        ("TOC digest", checked.toc_digest == toc_digest),
        ("uncompressed size", size.is_none_or(|size| *size == checked.uncompressed_size.to_string())),
    ];
    for (what, _) in rows.iter().filter(|(_, same)| !same) {
        report.differs(format!("{}: its {what} is not what the image says", pair.name));
    }
}

/// A layer that both images share is the same file by file; only what is said of it can differ.
fn compare_kept(pair: &Pair, report: &mut VerifyReport) {
    report.layers_kept += 1;
    let rows = [
        ("another size", pair.source.size == pair.target.size),
        ("another diff id", pair.source_diff_id == pair.target_diff_id),
        (
            "a media type that is not OCI's for it",
            media_type::to_oci(&pair.source.media_type) == pair.target.media_type,
        ),
    ];
    for (what, _) in rows.iter().filter(|(_, same)| !same) {
        report.differs(format!("{}: the target gives the same layer {what}", pair.name));
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &[u8]) -> String {
    let path: String = String::from_utf8_lossy(path).chars().take(200).collect();
    path.escape_debug().to_string()
}
