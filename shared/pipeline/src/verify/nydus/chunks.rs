//! The chunks that a bootstrap names, compared with the blobs that hold them.

use std::collections::BTreeMap;
use std::io::{self, Read};

use accel_driver_nydus::reader::{Bootstrap, ChunkRef, Compressor, Inode, check_chunk};
use accel_image::{Descriptor, Digest};
use accel_registry::RegistryError;
use accel_stream::bridge;

use super::Whole;
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::verify::layer::Ends;
use crate::verify::report::VerifyReport;

/// The chunks of every blob that a bootstrap names, by their place in it.
pub(super) struct Chunks {
    compressor: Compressor,
    blobs: Vec<(Digest, BTreeMap<u64, ChunkRef>)>,
    /// Chunks of which two files say different things.
    contradictions: u64,
}

impl Chunks {
    /// None yet, of the blobs of `bootstrap`.
    pub(super) fn of(bootstrap: &Bootstrap) -> Self {
        let blobs = bootstrap.blobs().iter().map(|blob| (blob.id, BTreeMap::new())).collect();
        Self { compressor: bootstrap.compressor(), blobs, contradictions: 0 }
    }

    /// Notes the chunks of a file.
    pub(super) fn note(&mut self, inode: &Inode) {
        for chunk in &inode.chunks {
            let known = self
                .blobs
                .get_mut(chunk.blob as usize)
                .map(|(_, chunks)| chunks.entry(chunk.compressed_offset).or_insert_with(|| *chunk) == chunk);
            self.contradictions += u64::from(known != Some(true));
        }
    }
}

impl Ends<'_> {
    /// Reads every blob of the image once, and compares the chunks in it.
    pub(super) async fn compare_blobs(
        &self,
        whole: &Whole,
        mut chunks: Chunks,
        mut report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        if chunks.contradictions > 0 {
            let count = chunks.contradictions;
            report.differs(format!("{}: the bootstrap says different things of {count} chunks", whole.name));
        }
        let blobs = whole.target.split_last().map_or(&[][..], |(_, blobs)| blobs);
        for (id, _) in &chunks.blobs {
            if !blobs.iter().any(|(layer, _)| layer.digest == *id) {
                report
                    .differs(format!("{}: the bootstrap names blob {id}, which is no layer of the image", whole.name));
            }
        }
        for (at, (layer, _)) in blobs.iter().enumerate() {
            if blobs[..at].iter().any(|(before, _)| before.digest == layer.digest) {
                continue;
            }
            let named = chunks.blobs.iter_mut().find(|(id, _)| *id == layer.digest);
            let named = named.map(|(_, chunks)| std::mem::take(chunks)).unwrap_or_default();
            report.bytes += layer.size;
            report.chunks += named.len() as u64;
            for what in self.compare_blob(layer, chunks.compressor, named).await? {
                report.differs(format!("{}: layer {}: {what}", whole.name, layer.digest));
            }
        }
        Ok(report)
    }

    /// What is wrong with a blob, in words.
    async fn compare_blob(
        &self,
        layer: &Descriptor,
        compressor: Compressor,
        chunks: BTreeMap<u64, ChunkRef>,
    ) -> Result<Vec<String>, ConvertError> {
        let (sender, reader) = bridge::channel(DEPTH);
        let work = tokio::task::spawn_blocking(move || compare(reader, compressor, &chunks));
        let (fed, worked) = tokio::join!(feed(self.target, layer, 0, sender, |_| ()), work);
        let mut wrong = worked.map_err(|_| ConvertError::Panicked(layer.digest))?;
        match fed {
            // The blob that the target's registry has is not the blob that its manifest names.
            Err(error @ RegistryError::Mismatch { .. }) => wrong = vec![error.to_string()],
            fed => fed?,
        }
        Ok(wrong)
    }
}

/// Reads a blob to its end, where its digest is compared, and on the way the chunks in it.
fn compare(mut blob: impl Read, compressor: Compressor, chunks: &BTreeMap<u64, ChunkRef>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut at = 0;
    let mut stored = Vec::new();
    for (&offset, chunk) in chunks {
        let longest = longest(compressor, chunk.uncompressed_size.into());
        if u64::from(chunk.compressed_size) > longest {
            wrong.push(format!("its chunk at {offset} has {} bytes, more than {longest}", chunk.compressed_size));
            continue;
        }
        let read = match offset.checked_sub(at) {
            Some(gap) => skip(&mut blob, gap).and_then(|()| take(&mut blob, chunk.compressed_size, &mut stored)),
            None => {
                wrong.push(format!("its chunks at {offset} and before it lie in each other"));
                break;
            }
        };
        if let Err(error) = read {
            wrong.push(format!("its chunk at {offset} cannot be read: {error}"));
            break;
        }
        at = offset + u64::from(chunk.compressed_size);
        if let Err(fault) = check_chunk(compressor, &stored, chunk) {
            wrong.push(format!("its chunk at {offset}: {fault}"));
        }
    }
    // The rest only for the digest, which the other side of the bridge compares.
    drop(io::copy(&mut blob, &mut io::sink()));
    wrong
}

/// What `bytes` may become at most: by the bounds of LZ4 and of zstd, the greater for each part.
const fn longest(compressor: Compressor, bytes: u64) -> u64 {
    match compressor {
        Compressor::None => bytes,
        Compressor::Lz4Block | Compressor::Zstd => bytes + bytes / 255 + 64,
    }
}

fn skip(blob: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut blob.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads exactly so many bytes; no more room is taken than there are.
fn take(blob: &mut impl Read, bytes: u32, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    let got = blob.take(bytes.into()).read_to_end(into)?;
    if got == bytes as usize { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, content: &[u8]) -> (u64, ChunkRef) {
        let bytes = content.len() as u32;
        let place = ChunkRef {
            blob: 0,
            index: 0,
            digest: Digest::of(content),
            compressed_offset: offset,
            compressed_size: bytes,
            uncompressed_size: bytes,
        };
        (offset, place)
    }

    fn stored_in(bytes: u32, (offset, place): (u64, ChunkRef)) -> (u64, ChunkRef) {
        (offset, ChunkRef { compressed_size: bytes, ..place })
    }

    #[test]
    fn no_compressor_passes_its_bound() {
        let noise = accel_test_support::noise(4 << 20, 1);
        for bytes in [0, 1, 100, 4096, 128 << 10, 4 << 20] {
            let zstd = accel_test_support::compress::zstd(&noise[..bytes]).len() as u64;
            assert!(zstd <= longest(Compressor::Zstd, bytes as u64), "{bytes}: {zstd}");
            let lz4 = lz4_flex::block::compress(&noise[..bytes]).len() as u64;
            assert!(lz4 <= longest(Compressor::Lz4Block, bytes as u64), "{bytes}: {lz4}");
            assert!(bytes == 0 || lz4 > bytes as u64, "{bytes}: noise does not shrink, so this is near the bound");
        }
    }

    #[test]
    fn chunks_are_compared_where_they_lie() {
        let blob = b"one..three";
        let rows = [
            (vec![chunk(0, b"one"), chunk(5, b"three")], None),
            (vec![chunk(5, b"three")], None),
            (vec![], None),
            (vec![chunk(0, b"two"), chunk(5, b"three")], Some("at 0: ")),
            (vec![chunk(0, b"one.."), chunk(3, b"..")], Some("at 3 and before it")),
            (vec![chunk(5, b"three and more")], Some("at 5 cannot be read")),
            (vec![chunk(50, b"x")], Some("at 50 cannot be read")),
            (vec![stored_in(4, chunk(0, b"one"))], Some("at 0 has 4 bytes, more than 3")),
            (vec![stored_in(u32::MAX, chunk(0, b"one")), chunk(5, b"three")], Some("at 0 has 4294967295 bytes")),
        ];
        for (chunks, expected) in rows {
            let found = compare(&blob[..], Compressor::None, &chunks.clone().into_iter().collect());
            match expected {
                None => assert_eq!(found, Vec::<String>::new(), "{chunks:?}"),
                Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{chunks:?}: {found:?}"),
            }
        }
    }
}
