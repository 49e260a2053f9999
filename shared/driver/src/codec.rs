//! The compressors, each kept by a thread from one unit to the next.

use libdeflater::{CompressionLvl, Compressor};
use zstd::bulk::Compressor as ZstdCompressor;

use crate::DriverError;

/// How members are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// One gzip member each, by libdeflate at a level of 1 to 12.
    Gzip {
        /// The level.
        level: u8,
    },
    /// One zstd frame each, or the bytes as they are where that is not smaller.
    Zstd {
        /// The level.
        level: i32,
    },
    /// One LZ4 block each, or the bytes as they are where that is not smaller.
    Lz4Block,
    /// The bytes as they are.
    Stored,
    /// Nothing: only digests of chunks are wanted.
    Nothing,
}

/// A compressor with what it needs.
pub(crate) struct Encoder {
    codec: Codec,
    engine: Engine,
}

enum Engine {
    Gzip(Compressor),
    Zstd(Box<ZstdCompressor<'static>>),
    Lz4Block,
    Stored,
    Nothing,
}

impl Encoder {
    pub(crate) fn new(codec: Codec) -> Result<Self, DriverError> {
        let engine = match codec {
            Codec::Gzip { level } => {
                Engine::Gzip(Compressor::new(CompressionLvl::new(i32::from(level)).unwrap_or_default()))
            }
            Codec::Zstd { level } => {
                Engine::Zstd(Box::new(ZstdCompressor::new(level).map_err(|_| DriverError::Codec)?))
            }
            Codec::Lz4Block => Engine::Lz4Block,
            Codec::Stored => Engine::Stored,
            Codec::Nothing => Engine::Nothing,
        };
        Ok(Self { codec, engine })
    }

    pub(crate) const fn codec(&self) -> Codec {
        self.codec
    }

    /// How much room [`Encoder::encode`] needs for `input` bytes.
    pub(crate) fn bound(&mut self, input: usize) -> usize {
        match &mut self.engine {
            Engine::Gzip(gzip) => gzip.gzip_compress_bound(input),
            Engine::Zstd(_) => zstd::zstd_safe::compress_bound(input),
            Engine::Lz4Block => lz4_flex::block::get_maximum_output_size(input),
            Engine::Stored => input,
            Engine::Nothing => 0,
        }
    }

    /// Compresses `input` to the start of `output`; returns how many bytes that are.
    pub(crate) fn encode(&mut self, input: &[u8], output: &mut [u8]) -> Result<usize, DriverError> {
        let bytes = match &mut self.engine {
            Engine::Gzip(gzip) => return gzip.gzip_compress(input, output).map_err(|_| DriverError::Codec),
            Engine::Zstd(zstd) => zstd.compress_to_buffer(input, output).map_err(|_| DriverError::Codec)?,
            Engine::Lz4Block => lz4_flex::block::compress_into(input, output).map_err(|_| DriverError::Codec)?,
            Engine::Stored => input.len(),
            Engine::Nothing => return Ok(0),
        };
        if bytes < input.len() {
            return Ok(bytes);
        }
        output[..input.len()].copy_from_slice(input);
        Ok(input.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_shrink_is_stored() {
        let noise = accel_test_support::noise(5000, 7);
        let zeros = vec![0; 5000];
        for codec in [Codec::Zstd { level: 3 }, Codec::Lz4Block, Codec::Stored] {
            let mut encoder = Encoder::new(codec).unwrap();
            for (input, shrinks) in [(&noise[..], false), (&noise[..1], false), (&zeros[..], codec != Codec::Stored)] {
                let mut output = vec![1; encoder.bound(input.len())];
                let bytes = encoder.encode(input, &mut output).unwrap();
                assert_eq!(bytes < input.len(), shrinks, "{codec:?}");
                assert!(shrinks || output[..bytes] == *input, "{codec:?}");
            }
        }
    }
}
