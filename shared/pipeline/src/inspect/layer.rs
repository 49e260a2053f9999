//! One layer: sniffed, and its TOC read if it has one.

use accel_domain::marker;
use accel_driver_estargz::reader::{FormatError, TocEntry, TocKind, TocSums, read_toc, toc_offset};
use accel_driver_estargz::{FOOTER_BYTES, LANDMARK, NO_PREFETCH_LANDMARK, TOC_DIGEST, UNCOMPRESSED_SIZE};
use accel_driver_nydus::BOOTSTRAP;
use accel_image::{Descriptor, media_type};
use accel_registry::End;
use accel_stream::{Compression, Limits, bridge, sniff};

use super::bootstrap;
use super::report::{Landmark, LargestFile, LayerContents, LayerFormat, TocContents};
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};

/// Enough of a blob's start to tell its compression.
const HEAD_BYTES: u64 = 16;

/// Annotations of either dialect of zstd:chunked.
const ZSTD_CHUNKED: [&str; 2] =
    ["io.github.containers.zstd-chunked.manifest-checksum", "io.containers.zstd-chunked.manifest-checksum"];

/// Looks at a layer.
///
/// # Errors
/// Those of the registry.
pub(super) async fn inspect(end: &End, layer: &Descriptor, limits: Limits) -> Result<LayerContents, ConvertError> {
    let mut contents = LayerContents {
        digest: layer.digest,
        size: layer.size,
        media_type: layer.media_type.clone(),
        format: LayerFormat::Foreign,
        uncompressed_size: layer.annotations.get(UNCOMPRESSED_SIZE).and_then(|size| size.parse().ok()),
        made_with: layer.annotations.get(marker::LAYER).cloned(),
        toc: None,
        bootstrap: None,
        problem: None,
    };
    if media_type::is_foreign_layer(&layer.media_type) {
        return Ok(contents);
    }
    if layer.annotations.contains_key(BOOTSTRAP) {
        contents.format = LayerFormat::NydusBootstrap;
        bootstrap::inspect(end, layer, limits, &mut contents).await?;
        return Ok(contents);
    }
    if layer.media_type == media_type::NYDUS_BLOB {
        contents.format = LayerFormat::NydusBlob;
        return Ok(contents);
    }
    contents.format = match compression(end, layer).await? {
        Compression::Gzip => LayerFormat::Gzip,
        Compression::Zstd if ZSTD_CHUNKED.iter().any(|key| layer.annotations.contains_key(*key)) => {
            LayerFormat::ZstdChunked
        }
        Compression::Zstd => LayerFormat::Zstd,
        Compression::Plain => LayerFormat::Plain,
    };
    if contents.format == LayerFormat::Gzip {
        inspect_gzip(end, layer, limits, &mut contents).await?;
    }
    Ok(contents)
}

/// How a layer's blob begins.
///
/// # Errors
/// Those of the registry.
pub(super) async fn compression(end: &End, layer: &Descriptor) -> Result<Compression, ConvertError> {
    Ok(sniff(&end.read_range(layer, 0, layer.size.min(HEAD_BYTES)).await?))
}

/// What a layer has of a TOC.
pub(super) enum Toc {
    /// No footer that says where one is.
    Missing(FormatError),
    /// One that is none.
    Wrong(FormatError),
    /// This one.
    Read(TocContents),
}

/// Any gzip layer may be eStargz: its footer tells.
///
/// # Errors
/// Those of the registry.
pub(super) async fn toc(end: &End, layer: &Descriptor, limits: Limits) -> Result<Toc, ConvertError> {
    let bytes = layer.size.min(FOOTER_BYTES as u64);
    let tail = end.read_range(layer, layer.size - bytes, bytes).await?;
    Ok(match toc_offset(&tail, layer.size) {
        Ok((toc_at, _)) => read(end, layer, toc_at, limits).await?.map_or_else(Toc::Wrong, Toc::Read),
        Err(fault) => Toc::Missing(fault),
    })
}

async fn inspect_gzip(
    end: &End,
    layer: &Descriptor,
    limits: Limits,
    contents: &mut LayerContents,
) -> Result<(), ConvertError> {
    match toc(end, layer, limits).await? {
        Toc::Read(toc) => {
            contents.format = LayerFormat::Estargz;
            if toc.digest_agrees == Some(false) {
                contents.problem = Some(format!("its TOC has another digest than annotation `{TOC_DIGEST}` says"));
            }
            contents.toc = Some(toc);
        }
        Toc::Wrong(fault) => {
            contents.format = LayerFormat::Estargz;
            contents.problem = Some(fault.to_string());
        }
        Toc::Missing(fault) if layer.annotations.contains_key(TOC_DIGEST) => {
            contents.problem = Some(format!("its annotation names a TOC, but {fault}"));
        }
        Toc::Missing(_) => {}
    }
    Ok(())
}

async fn read(
    end: &End,
    layer: &Descriptor,
    toc_at: u64,
    limits: Limits,
) -> Result<Result<TocContents, FormatError>, ConvertError> {
    let (sender, reader) = bridge::channel(DEPTH);
    let work = tokio::task::spawn_blocking(move || {
        let mut counts = Counts::default();
        let sums = read_toc(reader, limits, &mut |entry| {
            counts.add(&entry);
            Ok(())
        })?;
        Ok((counts, sums))
    });
    let (fed, worked) = tokio::join!(feed(end, layer, toc_at, sender, |_| ()), work);
    fed?;
    let worked: Result<(Counts, TocSums), FormatError> = worked.map_err(|_| ConvertError::Panicked(layer.digest))?;
    let promised = layer.annotations.get(TOC_DIGEST);
    Ok(worked.map(|(counts, sums)| TocContents {
        digest: sums.digest,
        digest_agrees: promised.map(|digest| *digest == sums.digest.to_string()),
        size: layer.size - toc_at,
        json_size: sums.json_bytes,
        files: counts.files,
        directories: counts.directories,
        symlinks: counts.symlinks,
        hardlinks: counts.hardlinks,
        others: counts.others,
        file_bytes: counts.file_bytes,
        chunks: counts.chunks,
        landmark: counts.landmark.unwrap_or(Landmark::Missing),
        largest: counts.largest,
    }))
}

/// Counts entries as they pass.
#[derive(Default)]
struct Counts {
    files: u64,
    directories: u64,
    symlinks: u64,
    hardlinks: u64,
    others: u64,
    file_bytes: u64,
    chunks: u64,
    landmark: Option<Landmark>,
    largest: Option<LargestFile>,
}

impl Counts {
    fn add(&mut self, entry: &TocEntry) {
        match entry.kind {
            TocKind::Reg if entry.name == LANDMARK => {
                let entries = self.files + self.directories + self.symlinks + self.hardlinks + self.others;
                let (file_bytes, blob_bytes) = (self.file_bytes, entry.offset);
                self.landmark = Some(Landmark::Prefetch { entries, file_bytes, blob_bytes });
            }
            TocKind::Reg if entry.name == NO_PREFETCH_LANDMARK => self.landmark = Some(Landmark::NoPrefetch),
            TocKind::Reg => self.add_file(entry),
            TocKind::Chunk => self.chunks += 1,
            TocKind::Dir => self.directories += 1,
            TocKind::Symlink => self.symlinks += 1,
            TocKind::Hardlink => self.hardlinks += 1,
            TocKind::Char | TocKind::Block | TocKind::Fifo => self.others += 1,
        }
    }

    fn add_file(&mut self, entry: &TocEntry) {
        self.files += 1;
        self.file_bytes = self.file_bytes.saturating_add(entry.size);
        self.chunks += u64::from(entry.size > 0);
        if self.largest.as_ref().is_none_or(|largest| entry.size > largest.size) {
            self.largest = Some(LargestFile { name: entry.name.clone(), size: entry.size });
        }
    }
}
