//! The bootstrap layer of a Nydus image, read: a small tar with the bootstrap in it, and files about the chunks of blobs.

use std::collections::HashMap;
use std::io::{self, Read};

use accel_driver_nydus::ChunkDictionary;
use accel_driver_nydus::reader::Bootstrap;
use accel_image::{Descriptor, Digest};
use accel_registry::End;
use accel_stream::{EntryKind, LayerReader, Limits, StreamError, TarReader, bridge};

use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};

/// The bootstrap's path in its layer.
const PATH: &[u8] = b"image/image.boot";
/// What the name of a file about a blob's chunks has around the blob's digest.
const META_NAME: (&str, &str) = ("image/", ".blob.meta");
/// Payload that is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// What is read of a bootstrap layer, and how much of it at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    bootstrap_bytes: u64,
    /// All files about chunks together; without any they are not read.
    metas_bytes: u64,
    /// Chunks of all blobs together.
    chunks: u64,
}

impl Wanted {
    /// The bootstrap alone. No honest one is larger: that is room for more than two million files.
    pub(crate) const BOOTSTRAP: Self = Self { bootstrap_bytes: 1 << 30, metas_bytes: 0, chunks: u64::MAX };
    /// What a chunk dictionary needs: room for as many chunks as one may have, 80 bytes each, and half a million files beside
    /// them. The files about chunks have 16 bytes for each.
    pub(crate) const DICTIONARY: Self = Self {
        bootstrap_bytes: 160 << 20,
        metas_bytes: 16 * ChunkDictionary::MOST_CHUNKS as u64 + (4 << 20),
        chunks: ChunkDictionary::MOST_CHUNKS as u64,
    };
}

/// A bootstrap as it lies in its layer.
pub(crate) struct ReadBootstrap {
    pub(crate) bootstrap: Bootstrap,
    /// Its bytes, how many there are.
    pub(crate) bytes: u64,
    /// The diff id of its layer.
    pub(crate) diff_id: Digest,
    /// The files about the chunks of blobs, if they were wanted.
    pub(crate) metas: HashMap<Digest, Vec<u8>>,
}

/// Reads the bootstrap that `layer` holds; in words, what is wrong with it. `seen` is told the size of each piece.
///
/// # Errors
/// Those of the registry.
pub(crate) async fn read(
    end: &End,
    layer: &Descriptor,
    limits: Limits,
    seen: impl Fn(u64),
) -> Result<Result<ReadBootstrap, String>, ConvertError> {
    match read_what(Wanted::BOOTSTRAP, end, layer, limits, seen).await {
        // The registry does not have the blob that the manifest names, or another in its place.
        Err(ConvertError::Registry(error)) if error.is_of_the_blob() => Ok(Err(error.to_string())),
        read => read,
    }
}

/// Reads `wanted` of `layer`; in words, what is wrong with it. `seen` is told the size of each piece.
///
/// # Errors
/// Those of the registry.
pub(crate) async fn read_what(
    wanted: Wanted,
    end: &End,
    layer: &Descriptor,
    limits: Limits,
    seen: impl Fn(u64),
) -> Result<Result<ReadBootstrap, String>, ConvertError> {
    let (sender, mut reader) = bridge::channel(DEPTH);
    let work = tokio::task::spawn_blocking(move || {
        let parsed = parse(wanted, &mut reader, limits);
        if parsed.is_err() {
            // Read to its end, it is known whether the registry has sent what the manifest names.
            let _ = io::copy(&mut reader, &mut io::sink());
        }
        parsed
    });
    let (fed, worked) = tokio::join!(feed(end, layer, 0, sender, seen), work);
    let worked = worked.map_err(|_| ConvertError::Panicked(layer.digest))?;
    fed?;
    Ok(worked)
}

type Entries<R> = TarReader<LayerReader<R>>;

fn parse(wanted: Wanted, blob: impl Read, limits: Limits) -> Result<ReadBootstrap, String> {
    let text = |error: StreamError| error.to_string();
    let mut tar = TarReader::new(LayerReader::new(blob, limits), limits);
    let (mut found, mut metas, mut metas_left) = (None, HashMap::new(), wanted.metas_bytes);
    while let Some(entry) = tar.next_entry().map_err(text)? {
        if entry.kind != EntryKind::Regular {
            continue;
        }
        let size = entry.size;
        if entry.path == PATH {
            if size > wanted.bootstrap_bytes {
                return Err(format!("the bootstrap has {size} bytes, more than {}", wanted.bootstrap_bytes));
            }
            found = Some(payload(&mut tar).map_err(text)?);
        } else if let Some(blob) = blob_of(&entry.path).filter(|_| wanted.metas_bytes > 0) {
            let left = metas_left.checked_sub(size);
            metas_left = left.ok_or("the files about its chunks are larger than they can be")?;
            metas.insert(blob, payload(&mut tar).map_err(text)?);
        }
    }
    let diff_id = tar.into_inner().finish().map_err(text)?.diff_id;
    let bytes = found.ok_or_else(|| "there is no `image/image.boot` in it".to_owned())?;
    let size = bytes.len() as u64;
    let bootstrap = Bootstrap::parse_up_to(wanted.chunks, bytes).map_err(|fault| fault.to_string())?;
    Ok(ReadBootstrap { bootstrap, bytes: size, diff_id, metas })
}

/// The blob that a file is about by its name.
fn blob_of(path: &[u8]) -> Option<Digest> {
    let name = std::str::from_utf8(path).ok()?;
    let hex = name.strip_prefix(META_NAME.0)?.strip_suffix(META_NAME.1)?;
    format!("sha256:{hex}").parse().ok()
}

fn payload<R: Read>(tar: &mut Entries<R>) -> Result<Vec<u8>, StreamError> {
    let (mut bytes, mut block) = (Vec::new(), vec![0; BLOCK_BYTES]);
    while tar.payload_left() > 0 {
        let got = tar.read_payload(&mut block)?;
        bytes.extend_from_slice(&block[..got]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use accel_test_support::tar;
    use accel_test_support::tar::{dir, file};

    use super::*;

    #[test]
    fn no_more_is_read_than_is_wanted() {
        let meta = |blob: &[u8]| format!("image/{}.blob.meta", Digest::of(blob).hex());
        let layer = tar(&[
            dir("image/"),
            file("image/image.boot", vec![0; 9000]),
            file(meta(b"1"), vec![1; 5000]),
            file(meta(b"2"), vec![2; 5000]),
            file("image/other.blob.meta", vec![3; 50_000]),
        ]);
        let rows = [
            ((9000, 10_000), "no RAFS bootstrap"),
            ((8999, 10_000), "the bootstrap has 9000 bytes, more than 8999"),
            ((9000, 9999), "the files about its chunks are larger than they can be"),
            ((9000, 0), "no RAFS bootstrap"),
        ];
        for ((bootstrap_bytes, metas_bytes), expected) in rows {
            let wanted = Wanted { bootstrap_bytes, metas_bytes, ..Wanted::BOOTSTRAP };
            let told = parse(wanted, &layer[..], Limits::default()).map(|read| read.bytes).unwrap_err();
            assert!(told.contains(expected), "{wanted:?}: {told}");
        }
    }
}
