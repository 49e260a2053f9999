//! gzip as a chain of members: header, deflate data, trailer. Spec: RFC 1952.
//!
//! The members' headers and trailers are read here and only the raw deflate data by an [`Engine`]: so a wrong sum, a cut, and
//! garbage after the last member each have a name, and one inflate state serves all members.

mod blocks;
mod engine;
mod points;
mod resume;

use std::io::Read;

pub(crate) use points::Points;
pub use points::{InflatePoint, Passed};
pub use resume::inflate_from;

use crate::source::Source;
use crate::{Compression, StreamError};
use engine::{Engine, Status};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const FIXED_HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0xe0;

/// Decompresses a chain of gzip members.
#[derive(Debug)]
pub(crate) struct Gzip {
    engine: Engine,
    points: Option<Points>,
    crc: crc32fast::Hasher,
    /// Bytes that the member has inflated to so far.
    member_bytes: u64,
    /// Whether the member was inflated from its beginning, so that its sums can be compared.
    is_whole: bool,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Body,
    Between,
    Padding,
    Ended,
}

impl Gzip {
    pub(crate) fn new() -> Self {
        Self::with_engine(Engine::zlib())
    }

    /// One that takes note of where inflating can begin.
    pub(crate) fn with_points() -> Self {
        Self { points: Some(Points::default()), ..Self::with_engine(Engine::blocks()) }
    }

    fn with_engine(engine: Engine) -> Self {
        let crc = crc32fast::Hasher::new();
        Self { engine, points: None, crc, member_bytes: 0, is_whole: true, state: State::Header }
    }

    pub(crate) const fn points(&mut self) -> Option<&mut Points> {
        self.points.as_mut()
    }

    /// Decompresses into `out`, which must not be empty; 0 only at the end of the source.
    pub(crate) fn read<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> Result<usize, StreamError> {
        loop {
            match self.state {
                State::Header => {
                    self.read_header(source)?;
                    self.engine.begin_member();
                    self.crc.reset();
                    (self.member_bytes, self.is_whole) = (0, true);
                    self.note_point(source);
                    self.state = State::Body;
                }
                State::Body => {
                    let written = self.inflate(source, out)?;
                    if written > 0 {
                        return Ok(written);
                    }
                }
                State::Between => {
                    self.state = what_follows(source)?;
                    if let (Some(points), State::Padding | State::Ended) = (&mut self.points, self.state) {
                        points.end(source.offset());
                    }
                }
                State::Padding => self.skip_padding(source)?,
                State::Ended => return Ok(0),
            }
        }
    }

    /// One step of inflate; checks the trailer where the member ends.
    fn inflate<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> Result<usize, StreamError> {
        let input = source.fill()?;
        let at_end = input.is_empty();
        let step = self.engine.step(input, out);
        source.consume(step.read);
        self.crc.update(&out[..step.written]);
        self.member_bytes += step.written as u64;
        if let Some(points) = &mut self.points {
            points.inflated(step.written);
        }
        match step.status {
            Status::MemberEnd => {
                self.check_trailer(source)?;
                self.state = State::Between;
            }
            Status::BlockEnd => self.note_point(source),
            Status::GoesOn if step.read == 0 && step.written == 0 => {
                // A full window of input and room for output, and still no step: the decoder is stuck.
                return Err(if at_end { truncated(source) } else { corrupt(source, "no progress".into()) });
            }
            Status::GoesOn => {}
            Status::Failed(fault) => return Err(corrupt(source, fault)),
        }
        Ok(step.written)
    }

    /// The engine stands where a block begins.
    fn note_point<R: Read>(&mut self, source: &Source<R>) {
        if let (Some(points), Engine::Blocks(blocks)) = (&mut self.points, &self.engine) {
            points.note(source.offset(), blocks);
        }
    }

    fn check_trailer<R: Read>(&self, source: &mut Source<R>) -> Result<(), StreamError> {
        let Some(trailer) = source.peek(TRAILER_BYTES)?.first_chunk::<TRAILER_BYTES>() else {
            return Err(truncated(source));
        };
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        let crc_fits = !self.is_whole || u32::from_le_bytes([c0, c1, c2, c3]) == self.crc.clone().finalize();
        // The length is kept modulo 2^32.
        let length_fits = !self.is_whole || u32::from_le_bytes([l0, l1, l2, l3]) == self.member_bytes as u32;
        source.consume(TRAILER_BYTES);
        match (crc_fits, length_fits) {
            (true, true) => Ok(()),
            (false, _) => Err(StreamError::Checksum { sum: "crc-32", offset: source.offset() }),
            (true, false) => Err(StreamError::Checksum { sum: "length", offset: source.offset() }),
        }
    }

    fn read_header<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), StreamError> {
        let Some(fixed) = source.peek(FIXED_HEADER_BYTES)?.first_chunk::<FIXED_HEADER_BYTES>() else {
            return Err(truncated(source));
        };
        let (method, flags) = (fixed[2], fixed[3]);
        if method != METHOD_DEFLATE || flags & FLAGS_RESERVED != 0 {
            return Err(corrupt(source, "a header with an unknown method or flag".into()));
        }
        self.crc.reset();
        self.take(source, FIXED_HEADER_BYTES)?;
        if flags & FLAG_EXTRA != 0 {
            let length = self.take_u16(source)?;
            self.take(source, length.into())?;
        }
        for flag in [FLAG_NAME, FLAG_COMMENT] {
            if flags & flag != 0 {
                self.take_text(source)?;
            }
        }
        if flags & FLAG_HEADER_CRC != 0 {
            let expected = self.crc.clone().finalize() as u16;
            if self.take_u16(source)? != expected {
                return Err(StreamError::Checksum { sum: "header crc", offset: source.offset() });
            }
        }
        Ok(())
    }

    /// Takes `count` bytes of the header.
    fn take<R: Read>(&mut self, source: &mut Source<R>, mut count: usize) -> Result<(), StreamError> {
        while count > 0 {
            let block = source.fill()?;
            if block.is_empty() {
                return Err(truncated(source));
            }
            let step = block.len().min(count);
            self.crc.update(&block[..step]);
            source.consume(step);
            count -= step;
        }
        Ok(())
    }

    fn take_u16<R: Read>(&mut self, source: &mut Source<R>) -> Result<u16, StreamError> {
        let Some(bytes) = source.peek(2)?.first_chunk::<2>().copied() else { return Err(truncated(source)) };
        self.take(source, 2)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Takes a text up to its NUL: the file name or the comment, of any length, kept nowhere.
    fn take_text<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), StreamError> {
        loop {
            let block = source.fill()?;
            let available = block.len();
            if let Some(nul) = block.iter().position(|byte| *byte == 0) {
                return self.take(source, nul + 1);
            }
            if available == 0 {
                return Err(truncated(source));
            }
            self.take(source, available)?;
        }
    }

    /// Padding is zeros up to the end of the blob, as tape drives and some builders leave them.
    fn skip_padding<R: Read>(&mut self, source: &mut Source<R>) -> Result<(), StreamError> {
        let block = source.fill()?;
        if block.is_empty() {
            self.state = State::Ended;
            return Ok(());
        }
        let zeros = block.iter().take_while(|byte| **byte == 0).count();
        let clean = zeros == block.len();
        source.consume(zeros);
        if clean { Ok(()) } else { Err(garbage(source)) }
    }
}

/// What comes after a member: another one, padding, or the end.
fn what_follows<R: Read>(source: &mut Source<R>) -> Result<State, StreamError> {
    match *source.peek(MAGIC.len())? {
        [] => Ok(State::Ended),
        [first, second, ..] if [first, second] == MAGIC => Ok(State::Header),
        [first] if first == MAGIC[0] => Err(truncated(source)),
        [0, ..] => Ok(State::Padding),
        [_, ..] => Err(garbage(source)),
    }
}

fn truncated<R: Read>(source: &Source<R>) -> StreamError {
    StreamError::Truncated { compression: Compression::Gzip, offset: source.offset() }
}

fn corrupt<R: Read>(source: &Source<R>, fault: String) -> StreamError {
    StreamError::Corrupt { compression: Compression::Gzip, offset: source.offset(), fault }
}

fn garbage<R: Read>(source: &Source<R>) -> StreamError {
    StreamError::TrailingGarbage { compression: Compression::Gzip, offset: source.offset() }
}

#[cfg(test)]
mod tests;
