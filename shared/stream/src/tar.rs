//! A walker over the 512-byte blocks of a tar that keeps every header block as it was.
//!
//! For each entry, raw header blocks + payload + zero padding give the tar back, byte for byte wherever the padding
//! was zero. Where readers disagree, the walker reads as Go's archive/tar does, because container runtimes use it.
//! Nothing a header says is believed before it is checked against [`Limits`].

mod entry;
mod header;
mod pax;

use std::io::Read;

pub use entry::{Entry, EntryKind, Mtime};

use crate::error::shown;
use crate::source::read_some;
use crate::{Limits, StreamError};
use header::{BLOCK_BYTES, Block};
use pax::Extensions;

/// Payload that is skipped at a time.
const SKIP_BYTES: usize = 64 << 10;
/// Room for an entry's header blocks and GNU long names beside the one large extension that a limit allows.
const RAW_SLACK_BYTES: u64 = 16 << 10;

/// Walks the entries of an uncompressed tar.
///
/// Reads headers 512 bytes at a time, so `R` should be buffered; [`crate::LayerReader`] is.
#[derive(Debug)]
pub struct TarReader<R> {
    reader: R,
    limits: Limits,
    entry: Entry,
    entries: u64,
    /// Payload and padding of the current entry that were not read yet.
    payload_left: u64,
    padding_left: u64,
    /// Bytes of the tar read so far.
    offset: u64,
    skipped: Box<[u8]>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Walking,
    Ended,
    Failed,
}

impl<R: Read> TarReader<R> {
    /// Walks the tar that `reader` yields.
    #[must_use]
    pub fn new(reader: R, limits: Limits) -> Self {
        Self {
            reader,
            limits,
            entry: Entry::default(),
            entries: 0,
            payload_left: 0,
            padding_left: 0,
            offset: 0,
            skipped: vec![0; SKIP_BYTES].into(),
            state: State::Walking,
        }
    }

    /// Goes to the next entry; what is left of the previous one is skipped. `None` after the two blocks of zeros that
    /// end a tar, or where the tar ends cleanly without them, be it within the padding of its last payload; what comes
    /// after them is left unread.
    ///
    /// # Errors
    /// [`StreamError`], with its class; afterwards the walker stays failed.
    pub fn next_entry(&mut self) -> Result<Option<&Entry>, StreamError> {
        match self.state {
            State::Walking => {}
            State::Ended => return Ok(None),
            State::Failed => return Err(StreamError::AfterFailure),
        }
        match self.advance() {
            Ok(true) => Ok(Some(&self.entry)),
            Ok(false) => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// Reads the next bytes of the current entry's payload straight into `buf`. Fills `buf` unless the payload ends
    /// first; 0 at its end.
    ///
    /// # Errors
    /// [`StreamError::TarTruncated`] where the tar ends within the payload, and whatever the reader below says.
    pub fn read_payload(&mut self, buf: &mut [u8]) -> Result<usize, StreamError> {
        if self.state == State::Failed {
            return Err(StreamError::AfterFailure);
        }
        let wanted = usize::try_from(self.payload_left).map_or(buf.len(), |left| left.min(buf.len()));
        let result = self.read_whole(&mut buf[..wanted]);
        match result {
            Ok(()) => self.payload_left -= wanted as u64,
            Err(_) => self.state = State::Failed,
        }
        result.map(|()| wanted)
    }

    /// Bytes of the current entry's payload that were not read yet.
    #[must_use]
    pub const fn payload_left(&self) -> u64 {
        self.payload_left
    }

    /// The current entry; an empty one before the first.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The reader below, to ask it something: whoever reads from it spoils the walk.
    pub const fn inner(&mut self) -> &mut R {
        &mut self.reader
    }

    /// The reader below, which stands where the walker stopped.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// Reads the header blocks of the next entry; false at the end of the tar.
    fn advance(&mut self) -> Result<bool, StreamError> {
        if !self.skip_payload()? {
            return Ok(false);
        }
        self.entry.clear(self.offset);
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.read_header()? else {
                return if self.entry.raw.is_empty() { Ok(false) } else { Err(self.dangling()) };
            };
            match block.type_flag() {
                // A second PAX header replaces the first, as in Go.
                b'x' => extensions.pax = self.read_pax(&block)?,
                b'L' => extensions.long_name = self.read_long_name(&block)?,
                b'K' => extensions.long_link = self.read_long_name(&block)?,
                b'g' if self.entry.raw.len() > BLOCK_BYTES => return Err(self.dangling()),
                b'g' => return self.take_global(&block),
                _ => return self.take_entry(&block, &extensions),
            }
        }
    }

    /// A global header is an entry of its own. Its records are not applied to what follows: runtimes ignore them.
    fn take_global(&mut self, block: &Block) -> Result<bool, StreamError> {
        self.count_entry()?;
        self.entry.kind = EntryKind::GlobalHeader;
        block.copy_path(&mut self.entry.path);
        self.read_extension(block)?;
        Ok(true)
    }

    fn take_entry(&mut self, block: &Block, extensions: &Extensions) -> Result<bool, StreamError> {
        self.count_entry()?;
        self.entry.fill(block, extensions).map_err(|field| self.bad_number(field))?;
        self.check_entry()?;
        if self.entry.kind == EntryKind::Sparse && block.type_flag() == b'S' {
            self.read_sparse_map(block)?;
        }
        self.payload_left = self.entry.size;
        self.padding_left = self.entry.padding();
        Ok(true)
    }

    fn count_entry(&mut self) -> Result<(), StreamError> {
        self.entries += 1;
        let limit = self.limits.entries;
        if self.entries > limit { Err(StreamError::TooManyEntries { limit }) } else { Ok(()) }
    }

    fn check_entry(&self) -> Result<(), StreamError> {
        let offset = self.entry.header_offset;
        let limit = self.limits.path_bytes;
        for path in [&self.entry.path, &self.entry.link] {
            let bytes = path.len() as u64;
            if bytes > limit {
                return Err(StreamError::PathTooLong { path: shown(path), offset, bytes, limit });
            }
        }
        let (bytes, limit) = (self.entry.size, self.limits.layer_bytes);
        if bytes > limit {
            return Err(StreamError::EntryTooLarge { path: shown(&self.entry.path), offset, bytes, limit });
        }
        Ok(())
    }

    /// Reads a header block and appends it to the entry's raw blocks. `None` at the end of the tar.
    fn read_header(&mut self) -> Result<Option<Block>, StreamError> {
        let offset = self.offset;
        let Some(block) = self.read_block()? else { return Ok(None) };
        if block.is_zero() {
            // Two blocks of zeros end a tar. Go takes the end of the file for the second one, and refuses any other
            // block in its place; so would the runtimes that unpack the layer.
            return match self.read_block()? {
                Some(second) if !second.is_zero() => Err(StreamError::LoneZeroBlock { offset }),
                _ => Ok(None),
            };
        }
        if !block.checksum_fits() {
            return Err(StreamError::HeaderChecksum { offset });
        }
        self.reserve_raw(BLOCK_BYTES as u64)?;
        self.entry.raw.extend_from_slice(block.bytes());
        Ok(Some(block))
    }

    /// The next block as it is; `None` where the tar ends before it.
    fn read_block(&mut self) -> Result<Option<Block>, StreamError> {
        let mut bytes = [0; BLOCK_BYTES];
        match self.read_up_to(&mut bytes)? {
            BLOCK_BYTES => Ok(Some(Block::new(bytes))),
            0 => Ok(None),
            _ => Err(self.truncated()),
        }
    }

    fn read_pax(&mut self, block: &Block) -> Result<pax::Pax, StreamError> {
        let offset = self.offset - BLOCK_BYTES as u64;
        let records = self.read_extension(block)?;
        pax::Pax::parse(records).map_err(|fault| StreamError::Pax { offset, fault })
    }

    /// A GNU long name or link target, without the NULs that end it.
    fn read_long_name(&mut self, block: &Block) -> Result<Vec<u8>, StreamError> {
        let name = self.read_extension(block)?;
        Ok(header::until_nul(name).to_vec())
    }

    /// Appends an extension header's payload and padding to the raw blocks and gives the payload.
    fn read_extension(&mut self, block: &Block) -> Result<&[u8], StreamError> {
        let bytes = block.size().map_err(|field| {
            block.copy_path(&mut self.entry.path);
            self.bad_number(field)
        })?;
        let (offset, limit) = (self.entry.header_offset, self.limits.pax_bytes);
        if bytes > limit {
            return Err(StreamError::ExtensionTooLarge { offset, bytes, limit });
        }
        let padded = bytes.next_multiple_of(BLOCK_BYTES as u64);
        self.reserve_raw(padded)?;
        let start = self.append_raw(padded as usize)?;
        Ok(&self.entry.raw[start..start + bytes as usize])
    }

    /// The old GNU sparse map goes on in blocks of its own, which no size counts; they belong to the header.
    fn read_sparse_map(&mut self, block: &Block) -> Result<(), StreamError> {
        let mut goes_on = block.has_sparse_blocks();
        while goes_on {
            self.reserve_raw(BLOCK_BYTES as u64)?;
            let start = self.append_raw(BLOCK_BYTES)?;
            goes_on = header::sparse_block_goes_on(&self.entry.raw[start..]);
        }
        Ok(())
    }

    /// Fails if `more` raw bytes are too many for one entry.
    fn reserve_raw(&self, more: u64) -> Result<(), StreamError> {
        let bytes = self.entry.raw.len() as u64 + more;
        let limit = self.limits.pax_bytes.saturating_add(RAW_SLACK_BYTES);
        if bytes > limit {
            return Err(StreamError::ExtensionTooLarge { offset: self.entry.header_offset, bytes, limit });
        }
        Ok(())
    }

    /// Reads `count` bytes onto the end of the raw blocks; gives where they start.
    fn append_raw(&mut self, count: usize) -> Result<usize, StreamError> {
        let start = self.entry.raw.len();
        let mut raw = std::mem::take(&mut self.entry.raw);
        raw.resize(start + count, 0);
        let result = self.read_whole(&mut raw[start..]);
        self.entry.raw = raw;
        result.map(|()| start)
    }

    /// Skips what is left of the current entry; false where the tar ends without all of its padding.
    fn skip_payload(&mut self) -> Result<bool, StreamError> {
        let (mut left, padding) = (self.payload_left, self.padding_left as usize);
        (self.payload_left, self.padding_left) = (0, 0);
        let mut skipped = std::mem::take(&mut self.skipped);
        while left > 0 {
            let step = skipped.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.read_whole(&mut skipped[..step])?;
            left -= step as u64;
        }
        let is_padded = self.read_up_to(&mut skipped[..padding])? == padding;
        self.skipped = skipped;
        Ok(is_padded)
    }

    /// Fills `buf`, or says that the tar ended too early.
    fn read_whole(&mut self, buf: &mut [u8]) -> Result<(), StreamError> {
        if self.read_up_to(buf)? == buf.len() { Ok(()) } else { Err(self.truncated()) }
    }

    /// Fills `buf` as far as the tar goes.
    fn read_up_to(&mut self, buf: &mut [u8]) -> Result<usize, StreamError> {
        let mut filled = 0;
        while filled < buf.len() {
            let got = read_some(&mut self.reader, &mut buf[filled..])?;
            if got == 0 {
                break;
            }
            filled += got;
            self.offset += got as u64;
        }
        Ok(filled)
    }

    fn truncated(&self) -> StreamError {
        StreamError::TarTruncated { path: shown(&self.entry.path), offset: self.offset }
    }

    fn dangling(&self) -> StreamError {
        StreamError::DanglingExtension { offset: self.entry.header_offset }
    }

    fn bad_number(&self, field: &'static str) -> StreamError {
        StreamError::Number { path: shown(&self.entry.path), offset: self.entry.header_offset, field }
    }
}

#[cfg(test)]
mod tests;
