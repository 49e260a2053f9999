//! The TOC's member, written as the entries pass: JSON is deflated and hashed at once and kept only compressed.
//!
//! The tar header before the JSON says how long it is, which is known last. So the header, the JSON and the end of
//! the archive are three runs of deflate blocks in one member: no run refers back into another.

use accel_driver::{BlobWriter, DriverError};
use accel_image::{Digest, Hasher};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::layout::{TOC_NAME, footer};

/// JSON is deflated by zlib-rs at this level, part of the format's version.
const LEVEL: u32 = 5;
/// JSON is gathered until it is worth a call.
const GATHER: usize = 32 << 10;
/// Compressed JSON is kept in blocks of this size: nothing is moved when it grows.
const BLOCK: usize = 64 << 10;
/// The two zero blocks that end a tar.
const END_OF_ARCHIVE: usize = 1024;

/// Takes TOC entries, and becomes the end of the blob.
pub(crate) struct Toc {
    gathered: Vec<u8>,
    json: Run,
    digest: Hasher,
}

/// A run of deflate blocks and the checksum of what it holds.
struct Run {
    deflate: Compress,
    blocks: Vec<Vec<u8>>,
    crc: crc32fast::Hasher,
}

impl Toc {
    pub(crate) fn new() -> Self {
        let mut toc = Self { gathered: Vec::with_capacity(GATHER + 4096), json: Run::new(), digest: Hasher::default() };
        toc.gathered.extend_from_slice(b"{\"version\":1,\"entries\":[");
        toc
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: &str) -> Result<(), DriverError> {
        if self.digest.bytes() + self.gathered.len() as u64 > OPENING {
            self.gathered.push(b',');
        }
        self.gathered.extend_from_slice(entry.as_bytes());
        if self.gathered.len() >= GATHER { self.deflate() } else { Ok(()) }
    }

    fn deflate(&mut self) -> Result<(), DriverError> {
        self.digest.update(&self.gathered);
        self.json.write(&self.gathered, FlushCompress::None)?;
        self.gathered.clear();
        Ok(())
    }

    /// Writes the TOC's member and the footer. Returns the digest of the JSON. There is nothing after the final
    /// brace: readers hash what their JSON decoder happened to read.
    pub(crate) fn finish(mut self, blob: &mut BlobWriter<'_>) -> Result<Digest, DriverError> {
        self.gathered.extend_from_slice(b"]}");
        self.deflate()?;
        self.json.write(&[], FlushCompress::Sync)?;
        let json_bytes = self.digest.bytes();

        let header = tar_header(TOC_NAME, json_bytes);
        let mut head = Run::new();
        head.write(&header, FlushCompress::Sync)?;
        let padding = (512 - json_bytes % 512) % 512;
        let mut tail = Run::new();
        tail.write(&vec![0; padding as usize + END_OF_ARCHIVE], FlushCompress::Finish)?;

        let toc_offset = blob.offset();
        blob.write(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
        let mut crc = crc32fast::Hasher::new();
        let mut bytes = 0_u32; // ISIZE is the length modulo 2^32
        for run in [head, self.json, tail] {
            bytes = bytes.wrapping_add(run.write_to(blob)?);
            crc.combine(&run.crc);
        }
        blob.write(&crc.finalize().to_le_bytes())?;
        blob.write(&bytes.to_le_bytes())?;
        blob.write(&footer(toc_offset))?;
        Ok(self.digest.finish())
    }
}

const OPENING: u64 = "{\"version\":1,\"entries\":[".len() as u64;

impl Run {
    fn new() -> Self {
        Self {
            deflate: Compress::new(Compression::new(LEVEL), false),
            blocks: Vec::new(),
            crc: crc32fast::Hasher::new(),
        }
    }

    fn write(&mut self, mut bytes: &[u8], flush: FlushCompress) -> Result<(), DriverError> {
        self.crc.update(bytes);
        loop {
            if self.blocks.last().is_none_or(|block| block.len() == block.capacity()) {
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            let block = self.blocks.last_mut().expect("one was pushed if there was none");
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(bytes, block, flush).map_err(|_| DriverError::Codec)?;
            let taken = (self.deflate.total_in() - before) as usize;
            bytes = &bytes[taken..];
            // Room left in the block means that nothing waits inside the compressor.
            let drained = block.len() < block.capacity();
            if status == Status::StreamEnd || (bytes.is_empty() && drained) {
                return Ok(());
            }
        }
    }

    /// Writes the run, and what it holds for the diff id; returns how many bytes that are, modulo 2^32.
    fn write_to(&self, blob: &mut BlobWriter<'_>) -> Result<u32, DriverError> {
        let before = blob.uncompressed_bytes();
        let mut inflate = Decompress::new(false);
        let mut out = Vec::with_capacity(BLOCK);
        for block in &self.blocks {
            blob.write(block)?;
            let mut rest = block.as_slice();
            loop {
                let taken = inflate.total_in();
                let status =
                    inflate.decompress_vec(rest, &mut out, FlushDecompress::None).map_err(|_| DriverError::Codec)?;
                rest = &rest[(inflate.total_in() - taken) as usize..];
                let drained = out.len() < out.capacity();
                blob.uncompressed(&out);
                out.clear();
                if status == Status::StreamEnd || (rest.is_empty() && drained) {
                    break;
                }
            }
        }
        Ok((blob.uncompressed_bytes() - before) as u32)
    }
}

/// A USTAR header of a regular file with everything but name and size zero.
pub(crate) fn tar_header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("the format's own names are short");
    header.set_size(size);
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

#[cfg(test)]
mod tests;
