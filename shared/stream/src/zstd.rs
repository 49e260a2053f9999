//! zstd as a chain of frames, skippable ones among them. Spec: RFC 8878.
//!
//! Frame headers are looked at here, so that a window beyond the limit, a dictionary and garbage have names; libzstd
//! decompresses and compares content checksums.

use std::io::{self, Read};

use ::zstd::stream::raw::{DParameter, Decoder, Operation};

use crate::sniff::{breaks_off_in_zstd_magic, is_skippable_frame, is_zstd_frame};
use crate::source::Source;
use crate::{Compression, StreamError};

/// The longest frame header, magic number included.
const MAX_HEADER_BYTES: usize = 18;
/// What libzstd takes for its own window limit: log2, on 64-bit machines.
const WINDOW_LOGS: (u32, u32) = (10, 31);

/// Decompresses a chain of zstd frames.
pub(crate) struct Zstd {
    decoder: Decoder<'static>,
    window_limit: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Between,
    Frame,
    Ended,
}

impl Zstd {
    /// # Errors
    /// [`StreamError::Read`] if libzstd cannot have the memory for its context.
    pub(crate) fn new(window_limit: u64) -> Result<Self, StreamError> {
        let mut decoder = Decoder::new().map_err(StreamError::Read)?;
        let log = window_limit.next_power_of_two().max(1).ilog2().clamp(WINDOW_LOGS.0, WINDOW_LOGS.1);
        decoder.set_parameter(DParameter::WindowLogMax(log)).map_err(StreamError::Read)?;
        Ok(Self { decoder, window_limit, state: State::Between })
    }

    /// Decompresses into `out`, which must not be empty; 0 only at the end of the source.
    pub(crate) fn read<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> Result<usize, StreamError> {
        loop {
            match self.state {
                State::Between => self.state = self.what_follows(source)?,
                State::Frame => {
                    let written = self.decompress(source, out)?;
                    if written > 0 {
                        return Ok(written);
                    }
                }
                State::Ended => return Ok(0),
            }
        }
    }

    fn decompress<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> Result<usize, StreamError> {
        let input = source.fill()?;
        let at_end = input.is_empty();
        let step = self.decoder.run_on_buffers(input, out).map_err(|error| corrupt(source, &error))?;
        source.consume(step.bytes_read);
        if step.remaining == 0 {
            self.state = State::Between;
        } else if at_end && step.bytes_written == 0 {
            return Err(truncated(source));
        }
        Ok(step.bytes_written)
    }

    fn what_follows<R: Read>(&self, source: &mut Source<R>) -> Result<State, StreamError> {
        let header = source.peek(MAX_HEADER_BYTES)?;
        if header.is_empty() {
            return Ok(State::Ended);
        }
        if is_skippable_frame(header) {
            return Ok(State::Frame);
        }
        if !is_zstd_frame(header) {
            let cut = breaks_off_in_zstd_magic(header);
            return Err(if cut { truncated(source) } else { garbage(source) });
        }
        let Some(wants) = FrameWants::read(&header[4..]) else { return Err(truncated(source)) };
        let offset = source.offset();
        if wants.dictionary != 0 {
            return Err(StreamError::Dictionary { offset });
        }
        if wants.window_bytes > self.window_limit {
            let (window_bytes, limit) = (wants.window_bytes, self.window_limit);
            return Err(StreamError::WindowTooLarge { offset, window_bytes, limit });
        }
        Ok(State::Frame)
    }
}

/// What a frame's header asks of its reader. Spec: RFC 8878, 3.1.1.1.
#[derive(Debug, PartialEq, Eq)]
struct FrameWants {
    window_bytes: u64,
    dictionary: u64,
}

impl FrameWants {
    /// Reads the header from behind the magic number; `None` if it is cut short.
    fn read(header: &[u8]) -> Option<Self> {
        let (&descriptor, mut rest) = header.split_first()?;
        let single_segment = descriptor & 0x20 != 0;
        let mut window_bytes = 0;
        if !single_segment {
            let (&window, tail) = rest.split_first()?;
            let base = 1_u64 << (10 + (window >> 3));
            window_bytes = base + base / 8 * u64::from(window & 7);
            rest = tail;
        }
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let dictionary = little_endian(rest.get(..dictionary_bytes)?);
        let content_flag = descriptor >> 6;
        if single_segment {
            // Such a frame has no window of its own: it is decompressed as a whole.
            let content_bytes = [1, 2, 4, 8][usize::from(content_flag)];
            let content = little_endian(rest.get(dictionary_bytes..dictionary_bytes + content_bytes)?);
            window_bytes = if content_flag == 1 { content + 256 } else { content };
        }
        Some(Self { window_bytes, dictionary })
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn truncated<R: Read>(source: &Source<R>) -> StreamError {
    StreamError::Truncated { compression: Compression::Zstd, offset: source.offset() }
}

fn corrupt<R: Read>(source: &Source<R>, error: &io::Error) -> StreamError {
    StreamError::Corrupt { compression: Compression::Zstd, offset: source.offset(), fault: error.to_string() }
}

fn garbage<R: Read>(source: &Source<R>) -> StreamError {
    StreamError::TrailingGarbage { compression: Compression::Zstd, offset: source.offset() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wants(window_bytes: u64, dictionary: u64) -> Option<FrameWants> {
        Some(FrameWants { window_bytes, dictionary })
    }

    #[test]
    fn reads_what_a_frame_wants() {
        let rows: [(&[u8], Option<FrameWants>); 8] = [
            (&[0x00, 0x00], wants(1 << 10, 0)),
            (&[0x00, 17 << 3 | 3], wants((1 << 27) + 3 * (1 << 24), 0)),
            (&[0x20, 7], wants(7, 0)),
            (&[0x60, 1, 1], wants(257 + 256, 0)),
            (&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0], wants(1 << 32, 0)),
            (&[0x01, 0x00, 9], wants(1 << 10, 9)),
            (&[0x23, 1, 0, 0, 0, 5], wants(5, 1)),
            (&[0xe0, 0, 0, 0], None),
        ];
        for (header, expected) in rows {
            assert_eq!(FrameWants::read(header), expected, "{header:x?}");
        }
    }
}
