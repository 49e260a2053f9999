//! The compressed side of a layer: bytes in blocks, hashed and counted as they come in.

use std::io::{self, Read};

use accel_image::{Digest, Hasher};

use crate::StreamError;

/// Bytes asked of the reader below at a time.
const BLOCK_BYTES: usize = 128 << 10;

/// A buffered reader that hashes every byte once, when it arrives.
#[derive(Debug)]
pub(crate) struct Source<R> {
    inner: R,
    block: Box<[u8]>,
    start: usize,
    end: usize,
    hasher: Hasher,
}

impl<R: Read> Source<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, block: vec![0; BLOCK_BYTES].into(), start: 0, end: 0, hasher: Hasher::default() }
    }

    /// The bytes at hand; empty only at the end of the source.
    pub(crate) fn fill(&mut self) -> Result<&[u8], StreamError> {
        self.peek(1)
    }

    /// At least the next `count` bytes, fewer only where the source ends. `count` is far below a block.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8], StreamError> {
        debug_assert!(count <= self.block.len());
        if self.end - self.start < count {
            self.block.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < count {
                let got = read_some(&mut self.inner, &mut self.block[self.end..])?;
                if got == 0 {
                    break;
                }
                self.hasher.update(&self.block[self.end..self.end + got]);
                self.end += got;
            }
        }
        Ok(&self.block[self.start..self.end])
    }

    /// Marks `count` of the bytes at hand as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// Moves bytes on as they are, straight from the reader below where `out` is large; 0 at the end.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<usize, StreamError> {
        if self.start == self.end && out.len() >= BLOCK_BYTES / 2 {
            let got = read_some(&mut self.inner, out)?;
            self.hasher.update(&out[..got]);
            return Ok(got);
        }
        let block = self.fill()?;
        let count = block.len().min(out.len());
        out[..count].copy_from_slice(&block[..count]);
        self.consume(count);
        Ok(count)
    }

    /// Bytes used so far.
    pub(crate) fn offset(&self) -> u64 {
        self.hasher.bytes() - (self.end - self.start) as u64
    }

    /// Digest and count of all bytes that came in.
    pub(crate) fn finish(self) -> (Digest, u64) {
        let bytes = self.hasher.bytes();
        (self.hasher.finish(), bytes)
    }
}

/// One read that is not interrupted by signals.
pub(crate) fn read_some(reader: &mut impl Read, out: &mut [u8]) -> Result<usize, StreamError> {
    loop {
        match reader.read(out) {
            Ok(got) => return Ok(got),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StreamError::from_io(error)),
        }
    }
}
