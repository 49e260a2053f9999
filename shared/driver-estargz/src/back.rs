//! The back of the driver: gives chunks their places, closes the texts of entries, ends the blob with the TOC.

use accel_driver::{Assemble, BlobWriter, Chunk, DriverError, Unit};
use accel_image::Digest;

use crate::text::{Place, chunk, close_file, quoted_name};
use crate::toc::Toc;

/// What the front says of an entry. Chunks are named by their index in the unit.
pub(crate) enum Record {
    /// An entry without payload: its whole text.
    Entry(String),
    /// An empty file: its open text.
    Empty(String),
    /// A file of one chunk: its open text.
    File(String, usize),
    /// A file of several chunks begins with this one.
    Begin(String, usize),
    /// The next chunk of the file that has begun.
    More(usize),
    /// That file ends; this is the digest of the whole.
    End(Digest),
}

/// Assembles the TOC of one layer.
pub(crate) struct Back {
    toc: Toc,
    chunk_bytes: usize,
    open: Option<OpenFile>,
}

/// A file of several chunks whose end has not come: about 56 bytes a chunk.
struct OpenFile {
    text: String,
    chunks: Vec<(Place, usize)>,
}

impl Back {
    pub(crate) fn new(chunk_bytes: usize) -> Self {
        Self { toc: Toc::new(), chunk_bytes, open: None }
    }

    /// What `chunkSize` says: nothing for a last chunk that is shorter than the others.
    fn full(&self, len: usize) -> Option<usize> {
        (len == self.chunk_bytes).then_some(len)
    }

    fn more(&mut self, place: Place, len: usize) {
        let open = self.open.as_mut().expect("the front begins a file before it goes on");
        open.chunks.push((place, len));
    }

    fn end(&mut self, digest: Digest) -> Result<(), DriverError> {
        let OpenFile { mut text, chunks } = self.open.take().expect("the front begins a file before it ends");
        let name = quoted_name(&text).to_owned();
        let (first, len) = chunks[0];
        close_file(&mut text, Some(first), digest, self.full(len));
        self.toc.push(&text)?;
        let mut chunk_offset = len as u64;
        for &(place, len) in &chunks[1..] {
            self.toc.push(&chunk(&name, place, chunk_offset, self.full(len)))?;
            chunk_offset += len as u64;
        }
        Ok(())
    }

    fn take(&mut self, record: Record, place: impl Fn(usize) -> (Place, usize)) -> Result<(), DriverError> {
        match record {
            Record::Entry(text) => self.toc.push(&text),
            Record::Empty(mut text) => {
                close_file(&mut text, None, Digest::of(b""), None);
                self.toc.push(&text)
            }
            Record::File(mut text, index) => {
                let (place, len) = place(index);
                close_file(&mut text, Some(place), place.digest, self.full(len));
                self.toc.push(&text)
            }
            Record::Begin(text, index) => {
                self.open = Some(OpenFile { text, chunks: vec![place(index)] });
                Ok(())
            }
            Record::More(index) => {
                let (place, len) = place(index);
                self.more(place, len);
                Ok(())
            }
            Record::End(digest) => self.end(digest),
        }
    }
}

impl Assemble for Back {
    type Record = Record;
    type Summary = Digest;

    fn absorb(&mut self, records: Vec<Record>, unit: &Unit, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        let offset = blob.offset();
        let place = |index: usize| {
            let Chunk { input, len, digest, .. } = unit.chunks()[index];
            let member = unit.member_of(&unit.chunks()[index]);
            (Place { offset: offset + member.output as u64, inner: input - member.input, digest }, len)
        };
        records.into_iter().try_for_each(|record| self.take(record, place))?;
        blob.write_unit(unit)
    }

    fn finish(self, blob: &mut BlobWriter<'_>) -> Result<Digest, DriverError> {
        self.toc.finish(blob)
    }
}
