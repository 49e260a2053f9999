//! What there is to do: each layer's blob, and the members that it was converted to.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use accel_driver_estargz::FOOTER_BYTES;
use accel_driver_estargz::reader::{TocEntry, TocKind, read_toc, toc_offset};
use accel_image::{Digest, Manifest};
use accel_stream::Limits;
use anyhow::{Context as _, ensure};
use flate2::bufread::GzDecoder;
use serde_json::Value;

/// A block of a tar.
const BLOCK_BYTES: usize = 512;
/// The landmark: its header and its payload.
const LANDMARK_BYTES: usize = 2 * BLOCK_BYTES;

/// A layer in memory.
pub(crate) struct Layer {
    /// The blob to inflate.
    pub(crate) source: Vec<u8>,
    pub(crate) source_digest: Digest,
    /// What the format puts before the source's tar.
    pub(crate) prefix: Vec<u8>,
    /// What to deflate: the prefix and the source's tar, in these members.
    pub(crate) members: Vec<Member>,
    /// The digest of the deflated members.
    pub(crate) digest: Digest,
}

/// A part that is deflated alone.
#[derive(Default)]
pub(crate) struct Member {
    pub(crate) bytes: usize,
    pub(crate) chunks: Vec<Chunk>,
}

/// A part of a member that has a digest.
pub(crate) struct Chunk {
    pub(crate) start: usize,
    pub(crate) bytes: usize,
    pub(crate) digest: Digest,
    /// Where the file is longer than the chunk, its digest spans chunks.
    pub(crate) of_many: bool,
}

/// The layers of `tag` in both layouts.
pub(crate) fn layers(source: &Path, target: &Path, tag: &str) -> anyhow::Result<Vec<Layer>> {
    let (from, to) = (manifest(source, tag)?, manifest(target, tag)?);
    ensure!(from.layers.len() == to.layers.len(), "the images have different layers");
    let pairs = from.layers.iter().zip(&to.layers);
    pairs.map(|(from, to)| layer(blob(source, from.digest)?, from.digest, &blob(target, to.digest)?)).collect()
}

fn manifest(layout: &Path, tag: &str) -> anyhow::Result<Manifest> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let named = |image: &&Value| image["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let image = index["manifests"].as_array().and_then(|images| images.iter().find(named));
    let digest = image.and_then(|image| image["digest"].as_str()).context("no image has this tag")?;
    Ok(serde_json::from_slice(&blob(layout, digest.parse()?)?)?)
}

fn blob(layout: &Path, digest: Digest) -> anyhow::Result<Vec<u8>> {
    let path = layout.join("blobs/sha256").join(digest.hex());
    fs::read(&path).with_context(|| path.display().to_string())
}

fn layer(source: Vec<u8>, source_digest: Digest, target: &[u8]) -> anyhow::Result<Layer> {
    ensure!(source.starts_with(&[0x1f, 0x8b]), "the bare codec reads gzip only");
    let tail = &target[target.len().saturating_sub(FOOTER_BYTES)..];
    let toc = usize::try_from(toc_offset(tail, target.len() as u64)?.0)?;
    let mut chunks = chunks(&target[toc..])?;
    let (mut members, mut head, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while at < toc {
        plain.clear();
        let mut member = GzDecoder::new(&target[at..toc]);
        member.read_to_end(&mut plain)?;
        if head.len() < LANDMARK_BYTES + BLOCK_BYTES {
            head.extend_from_slice(&plain);
        }
        members.push(Member { bytes: plain.len(), chunks: chunks.remove(&(at as u64)).unwrap_or_default() });
        at = toc - member.into_inner().len();
    }
    ensure!(chunks.is_empty(), "the TOC has chunks where no member begins");
    let prefix = landmark(head, &source)?;
    Ok(Layer { source, source_digest, prefix, members, digest: Digest::of(&target[..toc]) })
}

/// The landmark's blocks, where the source's tar goes on behind them.
fn landmark(mut target: Vec<u8>, source: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut first = [0; BLOCK_BYTES];
    GzDecoder::new(source).read_exact(&mut first)?;
    let follows = target.get(LANDMARK_BYTES..).is_some_and(|rest| rest.is_empty() || rest.starts_with(&first));
    ensure!(follows, "the layer was not converted in the order of its entries");
    target.truncate(LANDMARK_BYTES);
    Ok(target)
}

/// The chunks by the offset of their member.
fn chunks(toc: &[u8]) -> anyhow::Result<BTreeMap<u64, Vec<Chunk>>> {
    let mut found: BTreeMap<u64, Vec<Chunk>> = BTreeMap::new();
    let mut file_bytes = 0;
    read_toc(toc, Limits::default(), &mut |entry: TocEntry| {
        if entry.kind == TocKind::Reg {
            file_bytes = entry.size;
        }
        if let Some(digest) = entry.chunk_digest {
            let bytes = if entry.chunk_size == 0 { file_bytes - entry.chunk_offset } else { entry.chunk_size };
            let of_many = bytes < file_bytes;
            let chunk = Chunk { start: entry.inner_offset as usize, bytes: bytes as usize, digest, of_many };
            found.entry(entry.offset).or_default().push(chunk);
        }
        Ok(())
    })?;
    Ok(found)
}
