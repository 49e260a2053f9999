//! The front of the driver: writes entries, each payload cut into chunks.

use accel_driver::{Cut, DriverError, Sink};
use accel_image::{Digest, Hasher};
use accel_stream::EntryKind;

use crate::back::Record;
use crate::entries::Entries;
use crate::layout::{LANDMARK, LANDMARK_CONTENTS, NO_PREFETCH_LANDMARK};
use crate::text::Texts;
use crate::toc::tar_header;

/// How payloads are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunking {
    /// The longest chunk.
    pub(crate) chunk_bytes: usize,
    /// Small files share a member until it holds so many bytes; 0 gives each its own.
    pub(crate) min_member_bytes: usize,
}

/// Writes entries into a sink.
pub(crate) struct Front<'s> {
    sink: &'s mut Sink<Record>,
    chunking: Chunking,
    texts: Texts,
    after_landmark: bool,
}

impl<'s> Front<'s> {
    pub(crate) fn new(sink: &'s mut Sink<Record>, chunking: Chunking) -> Self {
        Self { sink, chunking, texts: Texts::default(), after_landmark: false }
    }

    /// Writes the landmark, in a member of its own: what runtimes prefetch ends where it begins.
    pub(crate) fn landmark(&mut self, prioritized: bool) -> Result<(), DriverError> {
        let name = if prioritized { LANDMARK } else { NO_PREFETCH_LANDMARK };
        let bytes = LANDMARK_CONTENTS.len();
        self.sink.write(&tar_header(name, bytes as u64))?;
        let chunk = self.sink.chunk(bytes, Cut::NewMember, |buffer| {
            buffer.copy_from_slice(&LANDMARK_CONTENTS);
            Ok(())
        })?;
        let text = format!("{{\"name\":\"{name}\",\"type\":\"reg\",\"size\":{bytes}");
        self.sink.record(Record::File(text, chunk));
        self.after_landmark = true;
        self.sink.write(&[0; 512 - LANDMARK_CONTENTS.len()])
    }

    /// Writes the current entry of `entries`, headers as they were. Returns its digest if `proof` asks for it: of
    /// headers and payload, to be compared when the layer is read again.
    pub(crate) fn entry(&mut self, entries: &mut Entries, proof: &mut Option<Hasher>) -> Result<(), DriverError> {
        let entry = entries.current();
        if let Some(proof) = proof {
            proof.update(&entry.raw);
        }
        if entry.kind == EntryKind::GlobalHeader {
            return self.sink.write(&entry.raw); // runtimes ignore it, and so does the TOC
        }
        let mut text = self.texts.open(entry)?;
        self.sink.write(&entry.raw)?;
        let (size, padding) = (entry.size, entry.padding());
        if size > 0 {
            self.payload(entries, text, size, proof)?;
            return self.sink.write(&[0; 512][..padding as usize]);
        }
        if entry.kind == EntryKind::Regular {
            self.sink.record(Record::Empty(text));
        } else {
            text.push('}');
            self.sink.record(Record::Entry(text));
        }
        Ok(())
    }

    fn payload(
        &mut self,
        entries: &mut Entries,
        text: String,
        size: u64,
        proof: &mut Option<Hasher>,
    ) -> Result<(), DriverError> {
        let chunk_bytes = self.chunking.chunk_bytes as u64;
        let mut text = Some(text);
        let mut whole = (size > chunk_bytes).then(Hasher::default); // one chunk has the file's digest
        let mut left = size;
        while left > 0 {
            let len = left.min(chunk_bytes);
            left -= len;
            let chunk = self.sink.chunk(len as usize, self.cut(), |buffer| entries.read_payload(buffer))?;
            self.after_landmark = false;
            for hasher in [&mut whole, proof].into_iter().flatten() {
                hasher.update(self.sink.last_chunk());
            }
            self.sink.record(match (text.take(), &whole) {
                (Some(text), None) => Record::File(text, chunk),
                (Some(text), Some(_)) => Record::Begin(text, chunk),
                (None, _) => Record::More(chunk),
            });
        }
        if let Some(whole) = whole {
            self.sink.record(Record::End(whole.finish()));
        }
        Ok(())
    }

    fn cut(&self) -> Cut {
        let shared = !self.after_landmark && self.sink.member_bytes() < self.chunking.min_member_bytes;
        if shared { Cut::SameMember } else { Cut::NewMember }
    }
}

/// The digest of the current entry, headers and payload, without writing it.
pub(crate) fn proof_of(entries: &mut Entries) -> Result<Digest, DriverError> {
    let mut proof = Hasher::default();
    proof.update(&entries.current().raw);
    let mut left = entries.current().size;
    let mut buffer = vec![0; left.min(64 << 10) as usize];
    while left > 0 {
        let len = left.min(buffer.len() as u64) as usize;
        entries.read_payload(&mut buffer[..len])?;
        proof.update(&buffer[..len]);
        left -= len as u64;
    }
    Ok(proof.finish())
}
