//! A gzip blob as what it decompresses to, with the place of every byte: in which member, how far into it.

use std::io::{self, BufRead, Read};

use accel_image::{Digest, Hasher};
use accel_stream::{Compression, Limits, StreamError};
use flate2::bufread::GzDecoder;

/// Compressed bytes that are asked for at a time.
const BLOCK_BYTES: usize = 128 << 10;
/// Bytes decompressed ahead.
const AHEAD_BYTES: usize = 64 << 10;

/// Where a byte of the tar lies in the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Where its member begins in the blob.
    pub(super) member: u64,
    /// How far it is into what the member decompresses to.
    pub(super) inner: u64,
}

/// What a blob turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    /// The digest of what it decompresses to.
    pub(super) diff_id: Digest,
    pub(super) tar_bytes: u64,
    /// Where its last member begins.
    pub(super) last_member: u64,
}

/// Reads a blob member by member.
pub(super) struct Members<R> {
    state: State<R>,
    /// Decompressed bytes of one member that were not read yet, and the place of the first of them.
    ahead: Box<[u8]>,
    start: usize,
    end: usize,
    at: At,
    diff: Hasher,
    limits: Limits,
}

enum State<R> {
    Between(Blob<R>),
    Inside(Box<GzDecoder<Blob<R>>>),
    Failed,
}

impl<R: Read> Members<R> {
    pub(super) fn new(blob: R, limits: Limits) -> Self {
        Self {
            state: State::Between(Blob::new(blob)),
            ahead: vec![0; AHEAD_BYTES].into(),
            start: 0,
            end: 0,
            at: At { member: 0, inner: 0 },
            diff: Hasher::default(),
            limits,
        }
    }

    /// Where the next byte lies; `None` at the end of the blob.
    pub(super) fn next_at(&mut self) -> Result<Option<At>, StreamError> {
        self.fill()?;
        Ok((self.start < self.end).then_some(self.at))
    }

    /// Reads what is left of the blob.
    pub(super) fn finish(mut self) -> Result<Sums, StreamError> {
        while self.next_at()?.is_some() {
            self.start = self.end;
        }
        let State::Between(blob) = self.state else { return Err(StreamError::AfterFailure) };
        let (bytes, tar_bytes) = (blob.hasher.bytes(), self.diff.bytes());
        let (digest, diff_id) = (blob.hasher.finish(), self.diff.finish());
        Ok(Sums { digest, bytes, diff_id, tar_bytes, last_member: self.at.member })
    }

    /// Sees to it that there is a byte ahead, unless the blob is at its end. No read crosses the end of a member.
    fn fill(&mut self) -> Result<(), StreamError> {
        while self.start == self.end {
            match std::mem::replace(&mut self.state, State::Failed) {
                State::Failed => return Err(StreamError::AfterFailure),
                State::Between(mut blob) => {
                    if blob.fill_buf().map_err(StreamError::from_io)?.is_empty() {
                        self.state = State::Between(blob);
                        return Ok(());
                    }
                    self.at = At { member: blob.offset(), inner: 0 };
                    self.state = State::Inside(Box::new(GzDecoder::new(blob)));
                }
                State::Inside(mut decoder) => {
                    let read = decoder.read(&mut self.ahead);
                    let offset = decoder.get_ref().offset();
                    (self.start, self.end) = (0, read.map_err(|error| damage(error, offset))?);
                    self.diff.update(&self.ahead[..self.end]);
                    self.check_limits(offset)?;
                    self.state =
                        if self.end == 0 { State::Between(decoder.into_inner()) } else { State::Inside(decoder) };
                }
            }
        }
        Ok(())
    }

    fn check_limits(&self, compressed: u64) -> Result<(), StreamError> {
        let (uncompressed, limits) = (self.diff.bytes(), &self.limits);
        if uncompressed > limits.layer_bytes {
            return Err(StreamError::LayerTooLarge { limit: limits.layer_bytes });
        }
        let limit = limits.ratio;
        if uncompressed > Limits::RATIO_FREE_BYTES && uncompressed > compressed.saturating_mul(limit) {
            return Err(StreamError::RatioTooHigh { compressed, uncompressed, limit });
        }
        Ok(())
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let count = out.len().min(self.end - self.start);
        out[..count].copy_from_slice(&self.ahead[self.start..self.start + count]);
        self.start += count;
        self.at.inner += count as u64;
        Ok(count)
    }
}

/// An error of the blob as it is, one of the decoder by name.
fn damage(error: io::Error, offset: u64) -> StreamError {
    let compression = Compression::Gzip;
    match StreamError::from_io(error) {
        StreamError::Read(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => StreamError::Truncated { compression, offset },
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                StreamError::Corrupt { compression, offset, fault: error.to_string() }
            }
            _ => StreamError::Read(error),
        },
        typed => typed,
    }
}

/// The compressed side: hashed block by block, counted byte by byte.
struct Blob<R> {
    inner: R,
    block: Box<[u8]>,
    start: usize,
    end: usize,
    hasher: Hasher,
}

impl<R> Blob<R> {
    fn new(inner: R) -> Self {
        Self { inner, block: vec![0; BLOCK_BYTES].into(), start: 0, end: 0, hasher: Hasher::default() }
    }

    /// Bytes used so far.
    fn offset(&self) -> u64 {
        self.hasher.bytes() - (self.end - self.start) as u64
    }
}

impl<R: Read> BufRead for Blob<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end {
            match self.inner.read(&mut self.block) {
                Ok(got) => {
                    (self.start, self.end) = (0, got);
                    self.hasher.update(&self.block[..got]);
                    if got == 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.block[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let block = self.fill_buf()?;
        let count = block.len().min(out.len());
        out[..count].copy_from_slice(&block[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads a byte at a time and notes where each lay.
    fn places(blob: &[u8]) -> Result<(Vec<(u8, At)>, Sums), StreamError> {
        let mut members = Members::new(blob, Limits::default());
        let mut places = Vec::new();
        while let Some(at) = members.next_at()? {
            let mut byte = [0];
            members.read_exact(&mut byte).map_err(StreamError::from_io)?;
            places.push((byte[0], at));
        }
        Ok((places, members.finish()?))
    }

    #[test]
    fn knows_where_every_byte_lies() {
        let parts = [gzip(b"ab"), gzip(b""), gzip(b"c"), gzip(b"")];
        let blob = parts.concat();
        let (places, sums) = places(&blob).unwrap();
        let second = (parts[0].len() + parts[1].len()) as u64;
        let at = |member, inner| At { member, inner };
        assert_eq!(places, [(b'a', at(0, 0)), (b'b', at(0, 1)), (b'c', at(second, 0))]);
        assert_eq!((sums.digest, sums.bytes), (Digest::of(&blob), blob.len() as u64));
        assert_eq!(sums.diff_id, Digest::of(b"abc"));
        assert_eq!(sums.last_member, (blob.len() - parts[3].len()) as u64);
    }

    #[test]
    fn damage_is_named_and_cut_blobs_are_never_whole() {
        let blob = [gzip(b"some bytes"), gzip(b"more")].concat();
        for cut in 1..blob.len() {
            match places(&blob[..cut]) {
                Err(StreamError::Truncated { .. }) => {}
                Ok(_) if cut == gzip(b"some bytes").len() => {}
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
        let rows: [(Vec<u8>, &str); 2] = [([&blob[..], b"tail"].concat(), "damaged"), (b"plain".to_vec(), "damaged")];
        for (blob, expected) in rows {
            let error = places(&blob).unwrap_err();
            assert!(matches!(error, StreamError::Corrupt { .. } | StreamError::Truncated { .. }), "{error} {expected}");
        }
        let mut members = Members::new(&b"plain, no gzip"[..], Limits::default());
        assert!(members.next_at().is_err());
        assert!(matches!(members.next_at(), Err(StreamError::AfterFailure)));
    }

    #[test]
    fn bombs_are_refused() {
        let blob = gzip(&vec![0; 40 << 20]);
        let read = |limits| Members::new(&blob[..], limits).finish();
        assert!(read(Limits { ratio: 2000, ..Limits::default() }).is_ok());
        assert!(matches!(read(Limits { ratio: 500, ..Limits::default() }), Err(StreamError::RatioTooHigh { .. })));
        let limits = Limits { layer_bytes: 1 << 20, ..Limits::default() };
        assert!(matches!(read(limits), Err(StreamError::LayerTooLarge { .. })));
    }
}
