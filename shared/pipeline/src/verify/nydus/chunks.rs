//! The chunks that a bootstrap names, compared with the blobs that hold them.

use std::collections::BTreeMap;
use std::io::{self, Read};

use accel_driver_nydus::reader::{Bootstrap, ChunkRef, Compressor, InBatch, Inode, Version};
use accel_image::{Descriptor, Digest};
use accel_registry::RegistryError;
use accel_stream::bridge;

use super::layers::Doubt;
use super::stored::Stored;
use super::{Whole, originals};
use crate::error::ConvertError;
use crate::feed::{DEPTH, feed};
use crate::verify::layer::Ends;
use crate::verify::report::VerifyReport;

/// The chunks of a blob by their place in it and that in a batch.
type ByPlace = BTreeMap<(u64, u32), ChunkRef>;

/// The chunks of every blob that a bootstrap names.
pub(super) struct Chunks {
    version: Version,
    stored: Stored,
    blobs: Vec<(Digest, ByPlace)>,
    /// Chunks of which two files say different things.
    contradictions: u64,
    /// Chunks of files whose place is not said.
    unsaid: u64,
    /// Instead of all that, where the blobs are layers of the source.
    originals: Option<originals::Named>,
}

impl Chunks {
    /// None yet, of the blobs of `bootstrap`.
    pub(super) fn of(bootstrap: &Bootstrap) -> Self {
        let blobs = bootstrap.blobs().iter().map(|blob| (blob.id, ByPlace::new())).collect();
        let originals = (bootstrap.compressor() == Compressor::Gzip).then(|| originals::Named::of(bootstrap));
        let (version, stored) = (bootstrap.version(), Stored::of(bootstrap));
        Self { version, stored, blobs, contradictions: 0, unsaid: 0, originals }
    }

    /// Whether they lie in layers of the source.
    pub(super) const fn are_in_originals(&self) -> bool {
        self.originals.is_some()
    }

    /// Notes the chunks of a file.
    pub(super) fn note(&mut self, inode: &Inode) {
        if let Some(originals) = &mut self.originals {
            originals.note(inode);
            return;
        }
        for chunk in &inode.chunks {
            if chunk.compressed_size == 0 {
                self.unsaid += 1;
                continue;
            }
            let place = (chunk.compressed_offset, chunk.batch.map_or(0, InBatch::offset));
            let known = self
                .blobs
                .get_mut(chunk.blob as usize)
                .map(|(_, chunks)| chunks.entry(place).or_insert_with(|| *chunk) == chunk);
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
        doubts: Vec<Doubt>,
        mut report: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        if let Some(named) = chunks.originals.take() {
            return self.compare_originals(whole, named, report).await;
        }
        if chunks.contradictions > 0 {
            let count = chunks.contradictions;
            report.differs(format!("{}: the bootstrap says different things of {count} chunks", whole.name));
        }
        if chunks.unsaid > 0 {
            let count = chunks.unsaid;
            report.differs(format!(
                "{}: the bootstrap does not say where {count} chunks are that are in batches: another tool has made it, \
                 and what is in those files cannot be compared",
                whole.name
            ));
        }
        let blobs = whole.target.split_last().map_or(&[][..], |(_, blobs)| blobs);
        for (id, _) in &chunks.blobs {
            if !blobs.iter().any(|(layer, _)| layer.digest == *id) {
                report
                    .differs(format!("{}: the bootstrap names blob {id}, which is no layer of the image", whole.name));
            }
        }
        for (at, (layer, _)) in blobs.iter().enumerate() {
            let is_again = blobs[..at].iter().any(|(before, _)| before.digest == layer.digest);
            let named = chunks.blobs.iter_mut().find(|(id, _)| *id == layer.digest);
            let named = named.map(|(_, chunks)| std::mem::take(chunks)).unwrap_or_default();
            let stray = stray(at >= whole.source.len(), is_again, named.is_empty());
            if let Some(what) = stray {
                report.differs(format!("{}: layer {} {what}", whole.name, layer.digest));
            }
            if is_again {
                continue;
            }
            report.bytes += layer.size;
            report.chunks += named.len() as u64;
            let place = format!("{}: layer {}", whole.name, layer.digest);
            let found = self.compare_blob(place, layer, chunks.stored, named.into_values().collect(), report.empty());
            report.add(found.await?);
        }
        self.check_doubts(whole, chunks.version, doubts, report).await
    }

    /// Notes what is wrong with a blob in `found`, which is empty.
    async fn compare_blob(
        &self,
        place: String,
        layer: &Descriptor,
        stored: Stored,
        chunks: Vec<ChunkRef>,
        found: VerifyReport,
    ) -> Result<VerifyReport, ConvertError> {
        let (sender, reader) = bridge::channel(DEPTH);
        let (limit, mut worked) = (self.limits.layer_bytes, found.clone());
        let mut found = found;
        let said = place.clone();
        let work = tokio::task::spawn_blocking(move || {
            compare(reader, stored, &chunks, limit, &mut |what| worked.differs(format!("{said}: {what}")));
            worked
        });
        let (fed, worked) = tokio::join!(feed(self.target, layer, 0, sender, |_| ()), work);
        match fed {
            // The blob that the target's registry has is not the blob that its manifest names.
            Err(error @ RegistryError::Mismatch { .. }) => found.differs(format!("{place}: {error}")),
            fed => {
                fed?;
                found = worked.map_err(|_| ConvertError::Panicked(layer.digest))?;
            }
        }
        Ok(found)
    }
}

/// What is wrong with a blob's place, in words: behind those of the source's layers are blobs of the dictionary alone.
const fn stray(is_behind: bool, is_again: bool, is_unused: bool) -> Option<&'static str> {
    match (is_behind, is_again, is_unused) {
        (true, true, _) => Some("is there once more, and stands for no layer of the source"),
        (true, false, true) => {
            Some("stands for no layer of the source, and the bootstrap does not name it for any file")
        }
        (true, false, false) | (false, _, _) => None,
    }
}

/// Reads a blob to its end, where its digest is compared, and on the way the chunks in it, which are sorted by their place, as
/// long as they become no more than `limit` bytes.
fn compare(mut blob: impl Read, stored: Stored, chunks: &[ChunkRef], limit: u64, wrong: &mut dyn FnMut(String)) {
    let mut at = 0;
    let mut left = limit;
    let mut bytes = Vec::new();
    for piece in chunks.chunk_by(is_same_batch) {
        let [first, ..] = piece else { continue };
        let (offset, size) = (first.compressed_offset, first.compressed_size);
        if let Err(what) = stored.check_length(piece) {
            wrong(what);
            continue;
        }
        let read = match offset.checked_sub(at) {
            Some(gap) => skip(&mut blob, gap).and_then(|()| take(&mut blob, size, &mut bytes)),
            None => {
                wrong(format!("its chunks at {offset} and before it lie in each other"));
                break;
            }
        };
        if let Err(error) = read {
            wrong(format!("its chunk at {offset} cannot be read: {error}"));
            break;
        }
        at = offset + u64::from(size);
        let Some(rest) = left.checked_sub(stored.check(&bytes, piece, wrong)) else {
            wrong(format!("its chunks up to {offset} become more than the {limit} bytes that a layer may have"));
            break;
        };
        left = rest;
    }
    // The rest only for the digest, which the other side of the bridge compares.
    drop(io::copy(&mut blob, &mut io::sink()));
}

/// Whether two chunks are stored as one piece.
fn is_same_batch(one: &ChunkRef, next: &ChunkRef) -> bool {
    one.compressed_offset == next.compressed_offset && one.batch.is_some() && next.batch.is_some()
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

    fn chunk(offset: u64, content: &[u8]) -> ChunkRef {
        let bytes = content.len() as u32;
        ChunkRef {
            blob: 0,
            index: 0,
            digest: Digest::of(content),
            compressed_offset: offset,
            compressed_size: bytes,
            uncompressed_size: bytes,
            batch: None,
        }
    }

    fn stored_in(bytes: u32, chunk: ChunkRef) -> ChunkRef {
        ChunkRef { compressed_size: bytes, ..chunk }
    }

    /// A chunk of a batch of so many bytes that is stored as it is.
    fn in_batch(offset: u64, bytes: u32, place: u32, content: &[u8]) -> ChunkRef {
        ChunkRef { batch: Some(InBatch::new(place, false)), ..stored_in(bytes, chunk(offset, content)) }
    }

    /// What is wrong with chunks of `one..three`.
    fn faults(chunks: &[ChunkRef], limit: u64) -> Vec<String> {
        let mut found = Vec::new();
        compare(&b"one..three"[..], Stored::new(Compressor::None, 8), chunks, limit, &mut |what| found.push(what));
        found
    }

    #[test]
    fn what_chunks_become_is_bounded() {
        let rows = [
            (vec![chunk(0, b"one"), chunk(5, b"three")], 8),
            (vec![in_batch(0, 5, 0, b"o"), in_batch(5, 5, 0, b"t")], 10),
        ];
        for (chunks, bytes) in rows {
            assert_eq!(faults(&chunks, bytes), Vec::<String>::new());
            let found = faults(&chunks, bytes - 1);
            assert!(found.len() == 1 && found[0].contains("up to 5 become more than"), "{chunks:?}: {found:?}");
        }
    }

    #[test]
    fn chunks_are_compared_where_they_lie() {
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
            (vec![in_batch(0, 5, 0, b"on"), in_batch(0, 5, 2, b"e.."), chunk(5, b"three")], None),
            (vec![in_batch(0, 5, 2, b"e")], None),
            (
                vec![in_batch(0, 5, 0, b"on"), in_batch(0, 5, 2, b"E")],
                Some("at byte 0 of the blob: it has another digest"),
            ),
            (vec![in_batch(0, 5, 4, b"..")], Some("it ends beyond its batch")),
            (vec![in_batch(0, 5, 0, b"on"), in_batch(0, 4, 2, b"e")], Some("at 0 say different things of their batch")),
            (vec![in_batch(0, 9, 0, b"on")], Some("at 0 has 9 bytes, more than 8")),
            (vec![in_batch(0, 5, 0, b"on"), chunk(4, b".three")], Some("at 4 and before it")),
            (vec![chunk(0, b"one"), in_batch(0, 5, 1, b"ne")], Some("at 0 and before it")),
            (vec![in_batch(0, 5, 0, b"on"), in_batch(0, 5, 1, b"ne")], Some("at 0 lie in each other in their batch")),
            (vec![in_batch(0, 5, 0, b"one"), in_batch(0, 5, 2, b"e")], Some("at 0 lie in each other in their batch")),
        ];
        for (chunks, expected) in rows {
            let found = faults(&chunks, 10);
            match expected {
                None => assert_eq!(found, Vec::<String>::new(), "{chunks:?}"),
                Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{chunks:?}: {found:?}"),
            }
        }
    }
}
