//! A layer's blob as its uncompressed tar, hashed and counted on both sides.

use std::fmt;
use std::io::{self, Read};

use accel_image::{Digest, Hasher};

use crate::gzip::{Gzip, InflatePoint, Passed, Points};
use crate::sniff::{SNIFF_BYTES, broken_magic};
use crate::source::Source;
use crate::zstd::Zstd;
use crate::{Compression, Limits, StreamError, sniff};

/// Output decompressed ahead for callers that read little at a time.
const AHEAD_BYTES: usize = 128 << 10;
/// Reads from this size on are decompressed straight into the caller's buffer.
const DIRECT_BYTES: usize = 64 << 10;
/// Output of one step: small enough to be hashed while it is still in the processor's cache.
const STEP_BYTES: usize = 256 << 10;

/// What a layer turned out to be, known once all of it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSums {
    /// Digest of the blob as stored.
    pub source_digest: Digest,
    /// Length of the blob as stored.
    pub source_bytes: u64,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Length of the uncompressed tar.
    pub uncompressed_bytes: u64,
    /// How the blob was compressed.
    pub compression: Compression,
}

/// Reads a layer's blob and yields its uncompressed tar.
///
/// gzip with any number of members, zstd with any number of frames, or a bare tar, told apart by content. Reads of
/// 64 KiB and more are decompressed straight into the caller's buffer; smaller ones are cheap too. Errors through
/// [`Read`] are [`StreamError`]s inside, see [`StreamError::from_io`]; an end of file is always a clean one.
#[derive(Debug)]
pub struct LayerReader<R> {
    pump: Pump<R>,
    ahead: Box<[u8]>,
    start: usize,
    end: usize,
    failed: bool,
}

impl<R: Read> LayerReader<R> {
    /// Reads the layer that `source` yields; nothing is read before the first call of `read`.
    #[must_use]
    pub fn new(source: R, limits: Limits) -> Self {
        let pump = Pump {
            source: Source::new(source),
            decoder: Decoder::Unknown,
            diff: Hasher::default(),
            uncompressed: 0,
            limits,
            wants_points: false,
        };
        Self { pump, ahead: vec![0; AHEAD_BYTES].into(), start: 0, end: 0, failed: false }
    }

    /// As [`LayerReader::new`]; of a gzip it takes note of where inflating can begin.
    #[must_use]
    pub fn with_points(source: R, limits: Limits) -> Self {
        let mut layer = Self::new(source, limits);
        layer.pump.wants_points = true;
        layer
    }

    /// How the blob is compressed: reads its first bytes, if nothing was read yet.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn compression(&mut self) -> Result<Compression, StreamError> {
        self.pump.begin()?;
        Ok(self.pump.decoder.compression())
    }

    /// How many bytes of the tar were read.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.pump.uncompressed - (self.end - self.start) as u64
    }

    /// The latest point before the next byte that is read, of a gzip of which points are noted.
    pub fn point(&mut self) -> Option<&InflatePoint> {
        let position = self.position();
        self.pump.points().and_then(|points| points.at(position))
    }

    /// The points that were passed since this was asked last, and at last the end: for whoever wants to know how much of the
    /// blob some of the tar needs.
    pub fn passed(&mut self) -> impl Iterator<Item = Passed> {
        let position = self.position();
        self.pump.points().into_iter().flat_map(move |points| points.passed(position))
    }

    /// Reads what is left, to the very end of the blob, and gives the sums of all of it.
    ///
    /// # Errors
    /// Whatever the rest of the blob has wrong: [`StreamError`], with its class.
    pub fn finish(mut self) -> Result<LayerSums, StreamError> {
        if self.failed {
            return Err(StreamError::AfterFailure);
        }
        while self.pump.step(&mut self.ahead)? > 0 {}
        Ok(self.pump.finish())
    }

    /// [`Read::read`] with the error typed.
    ///
    /// # Errors
    /// [`StreamError`], with its class; afterwards the reader stays failed.
    pub fn read_bytes(&mut self, out: &mut [u8]) -> Result<usize, StreamError> {
        if self.failed {
            return Err(StreamError::AfterFailure);
        }
        let result = self.try_read(out);
        self.failed = result.is_err();
        result
    }

    fn try_read(&mut self, out: &mut [u8]) -> Result<usize, StreamError> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.start == self.end {
            if out.len() >= DIRECT_BYTES {
                let room = out.len().min(STEP_BYTES);
                return self.pump.step(&mut out[..room]);
            }
            self.start = 0;
            self.end = 0;
            self.end = self.pump.step(&mut self.ahead)?;
        }
        let count = out.len().min(self.end - self.start);
        out[..count].copy_from_slice(&self.ahead[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }
}

impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_bytes(out)?)
    }
}

/// Source, decoder and sums: everything but the buffer ahead.
#[derive(Debug)]
struct Pump<R> {
    source: Source<R>,
    decoder: Decoder,
    diff: Hasher,
    uncompressed: u64,
    limits: Limits,
    wants_points: bool,
}

enum Decoder {
    Unknown,
    Gzip(Box<Gzip>),
    Zstd(Zstd),
    Plain,
}

impl<R: Read> Pump<R> {
    /// Decompresses, hashes and counts up to the length of `out`; 0 only at the end.
    fn step(&mut self, out: &mut [u8]) -> Result<usize, StreamError> {
        self.begin()?;
        let count = match &mut self.decoder {
            Decoder::Gzip(gzip) => gzip.read(&mut self.source, out)?,
            Decoder::Zstd(zstd) => zstd.read(&mut self.source, out)?,
            Decoder::Unknown | Decoder::Plain => self.source.read(out)?,
        };
        self.uncompressed += count as u64;
        self.check_limits()?;
        // The diff id of a bare tar is the digest of the blob: hashed once, on its way in.
        if !matches!(self.decoder, Decoder::Plain) {
            self.diff.update(&out[..count]);
        }
        Ok(count)
    }

    fn begin(&mut self) -> Result<(), StreamError> {
        if matches!(self.decoder, Decoder::Unknown) {
            self.decoder = self.choose_decoder()?;
        }
        Ok(())
    }

    fn points(&mut self) -> Option<&mut Points> {
        match &mut self.decoder {
            Decoder::Gzip(gzip) => gzip.points(),
            Decoder::Unknown | Decoder::Zstd(_) | Decoder::Plain => None,
        }
    }

    fn choose_decoder(&mut self) -> Result<Decoder, StreamError> {
        let start = self.source.peek(SNIFF_BYTES)?;
        if let Some(compression) = broken_magic(start) {
            return Err(StreamError::Truncated { compression, offset: start.len() as u64 });
        }
        Ok(match sniff(start) {
            Compression::Gzip if self.wants_points => Decoder::Gzip(Box::new(Gzip::with_points())),
            Compression::Gzip => Decoder::Gzip(Box::new(Gzip::new())),
            Compression::Zstd => Decoder::Zstd(Zstd::new(self.limits.zstd_window_bytes)?),
            Compression::Plain => Decoder::Plain,
        })
    }

    fn check_limits(&self) -> Result<(), StreamError> {
        let Limits { layer_bytes, ratio, .. } = self.limits;
        let (compressed, uncompressed) = (self.source.offset(), self.uncompressed);
        if uncompressed > layer_bytes {
            return Err(StreamError::LayerTooLarge { limit: layer_bytes });
        }
        if uncompressed > Limits::RATIO_FREE_BYTES && uncompressed > compressed.saturating_mul(ratio) {
            return Err(StreamError::RatioTooHigh { compressed, uncompressed, limit: ratio });
        }
        Ok(())
    }

    fn finish(self) -> LayerSums {
        let (source_digest, source_bytes) = self.source.finish();
        let compression = self.decoder.compression();
        let diff_id = if compression == Compression::Plain { source_digest } else { self.diff.finish() };
        LayerSums { source_digest, source_bytes, diff_id, uncompressed_bytes: self.uncompressed, compression }
    }
}

impl Decoder {
    const fn compression(&self) -> Compression {
        match self {
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
            Self::Unknown | Self::Plain => Compression::Plain,
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
            Self::Plain => "Plain",
        })
    }
}

#[cfg(test)]
mod tests;
