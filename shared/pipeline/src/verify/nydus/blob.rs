//! One blob, read from its front to its back, and the chunks that lie in it.

use std::io::{self, Read};

use accel_driver_nydus::reader::ChunkRef;

use super::stored::Stored;

/// Reads a blob to its end, where its digest is compared, and on the way the chunks in it, which are sorted by their place, as
/// long as they become no more than `left` bytes. Returns what of those is left.
pub(super) fn compare(
    mut blob: impl Read,
    stored: Stored,
    chunks: &[ChunkRef],
    mut left: u64,
    wrong: &mut dyn FnMut(String),
) -> u64 {
    let mut at = 0;
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
        let Some(became) = stored.check(&bytes, piece, wrong) else { break };
        let Some(rest) = left.checked_sub(became) else {
            wrong(format!(
                "its chunks up to {offset}, and those of the blobs before it, become more than the source has"
            ));
            left = 0;
            break;
        };
        left = rest;
    }
    // The rest only for the digest, which the other side of the bridge compares.
    drop(io::copy(&mut blob, &mut io::sink()));
    left
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
    use accel_driver_nydus::reader::{Compressor, InBatch};
    use accel_image::Digest;

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

    /// What is wrong with chunks of `one..three`, and what is left of the bytes that they may become.
    fn faults(chunks: &[ChunkRef], most: u64) -> (Vec<String>, u64) {
        let mut found = Vec::new();
        let mut note = |what| found.push(what);
        let left = compare(&b"one..three"[..], Stored::new(Compressor::None, 8), chunks, most, &mut note);
        (found, left)
    }

    #[test]
    fn what_chunks_become_is_bounded() {
        let rows = [
            (vec![chunk(0, b"one"), chunk(5, b"three")], 8),
            (vec![in_batch(0, 5, 0, b"o"), in_batch(5, 5, 0, b"t")], 10),
        ];
        for (chunks, bytes) in rows {
            assert_eq!(faults(&chunks, bytes + 3), (Vec::new(), 3));
            assert_eq!(faults(&chunks, bytes), (Vec::new(), 0));
            let (found, left) = faults(&chunks, bytes - 1);
            assert!(found.len() == 1 && found[0].contains("up to 5, and those"), "{chunks:?}: {found:?}");
            assert_eq!(left, 0);
        }
    }

    #[test]
    fn a_batch_that_does_not_decompress_ends_its_blob_and_takes_nothing_of_what_is_left() {
        let broken = ChunkRef { batch: Some(InBatch::new(0, true)), ..stored_in(3, chunk(0, b"one")) };
        let mut found = Vec::new();
        let chunks = [broken, chunk(5, b"three")];
        let left =
            compare(&b"one..three"[..], Stored::new(Compressor::Zstd, 8), &chunks, 10, &mut |what| found.push(what));
        assert!(found.len() == 1 && found[0].contains("at 0: "), "{found:?}");
        assert_eq!(left, 10);
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
            let (found, _) = faults(&chunks, 10);
            match expected {
                None => assert_eq!(found, Vec::<String>::new(), "{chunks:?}"),
                Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{chunks:?}: {found:?}"),
            }
        }
    }
}
