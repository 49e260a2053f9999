//! The bootstrap layer of a Nydus image, read: a small tar with the bootstrap in it.

use std::io::Read;

use accel_driver_nydus::reader::Bootstrap;
use accel_image::{Descriptor, Digest};
use accel_registry::{End, RegistryError};
use accel_stream::{EntryKind, LayerReader, Limits, StreamError, TarReader, bridge};

use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};

/// The bootstrap's path in its layer.
const PATH: &[u8] = b"image/image.boot";
/// No honest bootstrap is larger: that is room for more than two million files.
const MAX_BYTES: u64 = 1 << 30;
/// Payload that is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// A bootstrap as it lies in its layer.
pub(crate) struct ReadBootstrap {
    pub(crate) bootstrap: Bootstrap,
    /// Its bytes, how many there are.
    pub(crate) bytes: u64,
    /// The diff id of its layer.
    pub(crate) diff_id: Digest,
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
    let (sender, reader) = bridge::channel(DEPTH);
    let work = tokio::task::spawn_blocking(move || parse(reader, limits));
    let (fed, worked) = tokio::join!(feed(end, layer, 0, sender, seen), work);
    let worked = worked.map_err(|_| ConvertError::Panicked(layer.digest))?;
    match fed {
        // The blob that the registry has is not the blob that the manifest names.
        Err(error @ RegistryError::Mismatch { .. }) => return Ok(Err(error.to_string())),
        fed => fed?,
    }
    Ok(worked)
}

fn parse(blob: impl Read, limits: Limits) -> Result<ReadBootstrap, String> {
    let text = |error: StreamError| error.to_string();
    let mut tar = TarReader::new(LayerReader::new(blob, limits), limits);
    let mut found = None;
    while let Some(entry) = tar.next_entry().map_err(text)? {
        if entry.kind != EntryKind::Regular || entry.path != PATH {
            continue;
        }
        if entry.size > MAX_BYTES {
            return Err(format!("the bootstrap has {} bytes, more than {MAX_BYTES}", entry.size));
        }
        let (mut bytes, mut block) = (Vec::new(), vec![0; BLOCK_BYTES]);
        while tar.payload_left() > 0 {
            let got = tar.read_payload(&mut block).map_err(text)?;
            bytes.extend_from_slice(&block[..got]);
        }
        found = Some(bytes);
    }
    let diff_id = tar.into_inner().finish().map_err(text)?.diff_id;
    let bytes = found.ok_or_else(|| "there is no `image/image.boot` in it".to_owned())?;
    let size = bytes.len() as u64;
    let bootstrap = Bootstrap::parse(bytes).map_err(|fault| fault.to_string())?;
    Ok(ReadBootstrap { bootstrap, bytes: size, diff_id })
}
