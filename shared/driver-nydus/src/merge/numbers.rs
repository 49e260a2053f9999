//! The blobs of a layer's bootstrap, by the numbers that they have in the image.

use std::sync::Arc;

use crate::bootstrap::ChunkRef;
use crate::layer::ChunkPlace;
use crate::reader::FormatError;

/// The blobs of a layer's bootstrap: its own, if it has contents, then those of the chunk dictionary.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) own: Option<u8>,
    pub(super) others: Vec<Other>,
}

/// A blob of the dictionary.
#[derive(Debug)]
pub(super) struct Other {
    /// Its number in the image.
    pub(super) number: u8,
    /// What the dictionary says of its chunks.
    pub(super) chunks: Arc<Vec<ChunkPlace>>,
}

impl Numbers {
    /// The chunk of the image that `chunk` of the layer is, of which the layer says `place`.
    pub(super) fn of_image(&self, chunk: ChunkRef, place: &ChunkPlace) -> Result<ChunkRef, FormatError> {
        let at = match self.own {
            Some(own) if chunk.blob() == 0 => return Ok(ChunkRef::new(own, chunk.chunk())),
            own => chunk.blob() - usize::from(own.is_some()),
        };
        let other = self.others.get(at).filter(|other| other.chunks.get(chunk.chunk() as usize) == Some(place));
        let other = other
            .ok_or(FormatError::Part { what: "table of chunks", reason: "the chunk dictionary says otherwise" })?;
        Ok(ChunkRef::new(other.number, chunk.chunk()))
    }
}

#[cfg(test)]
mod tests {
    use accel_image::Digest;

    use super::*;

    #[test]
    fn chunks_of_the_dictionary_are_what_it_says() {
        let place = |content: &[u8]| ChunkPlace {
            digest: Digest::of(content),
            offset: 0,
            stored_bytes: 1,
            bytes: 1,
            block: 0,
            batch: None,
        };
        let others = || vec![Other { number: 7, chunks: Arc::new(vec![place(b"0"), place(b"1")]) }];
        let both = Numbers { own: Some(3), others: others() };
        let alone = Numbers { own: None, others: others() };
        let chunk = ChunkRef::new;
        let rows = [
            (&both, chunk(0, 9), b"9", Some(chunk(3, 9))),
            (&both, chunk(1, 1), b"1", Some(chunk(7, 1))),
            (&both, chunk(1, 1), b"0", None),
            (&both, chunk(1, 2), b"2", None),
            (&both, chunk(2, 0), b"0", None),
            (&alone, chunk(0, 0), b"0", Some(chunk(7, 0))),
            (&alone, chunk(0, 0), b"1", None),
            (&alone, chunk(1, 0), b"0", None),
        ];
        for (numbers, chunk, said, expected) in rows {
            assert_eq!(numbers.of_image(chunk, &place(said)).ok(), expected, "{numbers:?} {chunk:?}");
        }
    }
}
