//! What determines the bytes of a Nydus image.

use accel_image::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_prefetch;
use crate::ByteSize;

/// Options of Nydus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NydusOptions {
    /// The version of the file system, RAFS. Version 6 is what the kernel's EROFS and nydusd from 2.2 on read; version 5
    /// is read by nydusd alone, through FUSE.
    #[schemars(range(min = 5, max = 6))]
    pub fs_version: u8,
    /// How chunks are compressed.
    pub compressor: NydusCompressor,
    /// Files larger than this are split into chunks that are fetched alone: a power of two from 4KiB to 4MiB.
    pub chunk_size: ByteSize,
    /// Files smaller than half of this are put together and compressed as one batch, smaller than this, that is fetched
    /// as a whole: images of many small files are smaller, and quicker to read. A power of two from 4KiB to `chunk_size`;
    /// 0 for none.
    #[serde(skip_serializing_if = "is_zero")] // what is off changes no hash
    #[schemars(extend("default" = "0"))]
    pub batch_size: ByteSize,
    /// What nydusd fetches when a container starts: absolute paths of files and directories. `/` is everything; nothing
    /// is fetched ahead if the list is empty.
    pub prefetch: Vec<String>,
    /// Makes the target an index that holds both, the plain images and the Nydus images, for nodes to choose. The plain
    /// ones get an empty layer below the others, so that no node takes their layers for those of the source.
    #[serde(skip_serializing_if = "std::ops::Not::not")] // what is off changes no hash
    #[schemars(extend("default" = false))]
    pub merge_manifest: bool,
    /// A Nydus image whose chunks are not stored again: layers refer to its blobs, which the target's repository gets too.
    /// It has RAFS v6, no batches, and the same `compressor` and `chunk_size`, and was made by Accel. Where this is a tag, it counts what
    /// it points at when a conversion begins.
    #[serde(skip_serializing_if = "Option::is_none")] // what is off changes no hash
    #[schemars(with = "Option<String>")]
    pub chunk_dictionary: Option<Reference>,
    /// The layers of the source stay the layers of the Nydus image: each gets an index, of a few hundredths of its size, that says
    /// where files lie in its gzip. nydusd alone reads such images, the kernel does not. Layers have to be gzip, the
    /// target has to be in the repository of its source, and the source has to stay; with `merge_manifest` the target may be
    /// anywhere, for it holds the layers.
    #[serde(skip_serializing_if = "std::ops::Not::not")] // what is off changes no hash
    #[schemars(extend("default" = false))]
    pub oci_ref: bool,
}

/// How the chunks of a Nydus image are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NydusCompressor {
    /// zstd.
    #[default]
    Zstd,
    /// LZ4 blocks: larger, and quicker to read.
    Lz4Block,
    /// Chunks are stored as they are.
    None,
}

impl NydusCompressor {
    /// Every compressor with its name.
    pub const ALL: [(&str, Self); 3] = [("zstd", Self::Zstd), ("lz4_block", Self::Lz4Block), ("none", Self::None)];

    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4Block => "lz4_block",
            Self::None => "none",
        }
    }
}

impl std::str::FromStr for NydusCompressor {
    type Err = UnknownCompressor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, compressor)| compressor).ok_or_else(|| UnknownCompressor(text.chars().take(40).collect()))
    }
}

/// A name that is no compressor of Nydus.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a compressor of Nydus: write zstd, lz4_block or none")]
pub struct UnknownCompressor(String);

/// The versions of RAFS.
const VERSIONS: std::ops::RangeInclusive<u8> = 5..=6;
/// The smallest and the largest `chunk_size`.
const CHUNK_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=4 << 20;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
const fn is_zero(size: &ByteSize) -> bool {
    size.0 == 0
}

impl Default for NydusOptions {
    fn default() -> Self {
        let prefetch = vec!["/".to_owned()];
        let (compressor, chunk_size) = (NydusCompressor::default(), ByteSize(1 << 20));
        Self {
            fs_version: 6,
            compressor,
            chunk_size,
            batch_size: ByteSize(0),
            prefetch,
            merge_manifest: false,
            chunk_dictionary: None,
            oci_ref: false,
        }
    }
}

impl NydusOptions {
    /// What is wrong with these options, if anything: (key, reason).
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let version = self.fs_version;
        if !VERSIONS.contains(&version) {
            return Err(("fs_version", format!("{version} is not a version of RAFS that Accel writes: write 6 or 5")));
        }
        self.check_oci_ref()?;
        let ByteSize(chunk) = self.chunk_size;
        if !CHUNK_BYTES.contains(&chunk) || !chunk.is_power_of_two() {
            let reason = format!("{} is not a power of two between 4KiB and 4MiB", self.chunk_size);
            return Err(("chunk_size", reason));
        }
        self.check_batch_size()?;
        self.check_chunk_dictionary()?;
        if let Some(glob) = self.prefetch.iter().find(|path| path.contains(['*', '?'])) {
            return Err((
                "prefetch",
                format!("`{glob}` is a glob, which Nydus does not know: name a file or a directory"),
            ));
        }
        check_prefetch(&self.prefetch)
    }

    fn check_oci_ref(&self) -> Result<(), (&'static str, String)> {
        let (key, reason) = match self {
            Self { oci_ref: false, .. } => return Ok(()),
            Self { fs_version: 5, .. } => (
                "fs_version",
                "with `oci_ref` it is 6: RAFS 5 cannot say where a chunk lies in a gzip; leave one of them out",
            ),
            Self { batch_size: ByteSize(1..), .. } => {
                let reason =
                    "with `oci_ref` chunks stay where they are in the source's gzip, in no batches: leave it out";
                ("batch_size", reason)
            }
            Self { chunk_dictionary: Some(_), .. } => {
                ("chunk_dictionary", "with `oci_ref` chunks stay where they are in the source's gzip: leave it out")
            }
            Self { compressor, .. } if *compressor != NydusCompressor::default() => {
                ("compressor", "with `oci_ref` layers keep their own compression: leave it out")
            }
            _ => return Ok(()),
        };
        Err((key, reason.to_owned()))
    }

    fn check_chunk_dictionary(&self) -> Result<(), (&'static str, String)> {
        let Some(dictionary) = &self.chunk_dictionary else { return Ok(()) };
        let reason = match (self.fs_version, self.batch_size) {
            (6, ByteSize(0)) => return Ok(()),
            (6, _) => "images with batches cannot refer to other images here: leave it or `batch_size` out",
            _ => "images of RAFS v5 cannot refer to other images here: leave it out, or take `fs_version: 6`",
        };
        Err(("chunk_dictionary", format!("{dictionary}: {reason}")))
    }

    fn check_batch_size(&self) -> Result<(), (&'static str, String)> {
        let ByteSize(batch) = self.batch_size;
        if batch == 0 {
            return Ok(());
        }
        if self.fs_version == 5 {
            return Err(("batch_size", "RAFS v5 has no batches: leave it out, or `fs_version: 5`".to_owned()));
        }
        if batch < *CHUNK_BYTES.start() || batch > self.chunk_size.0 || !batch.is_power_of_two() {
            let (chunk, batch) = (self.chunk_size, self.batch_size);
            return Err((
                "batch_size",
                format!("{batch} is not 0 or a power of two between 4KiB and chunk_size, {chunk}"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_option_that_is_out_of_range() {
        let good = NydusOptions::default();
        let with_dictionary =
            NydusOptions { chunk_dictionary: Some("h.example/dictionary:1".parse().unwrap()), ..good.clone() };
        let chunks = |bytes| NydusOptions { chunk_size: ByteSize(bytes), ..good.clone() };
        let batches = |bytes| NydusOptions { batch_size: ByteSize(bytes), ..good.clone() };
        let rows = [
            ("fs_version", "write 6 or 5", NydusOptions { fs_version: 4, ..good.clone() }),
            ("fs_version", "write 6 or 5", NydusOptions { fs_version: 7, ..good.clone() }),
            ("chunk_size", "power of two", chunks(3 << 20)),
            ("chunk_size", "power of two", chunks(2 << 10)),
            ("chunk_size", "power of two", chunks(8 << 20)),
            ("batch_size", "4KiB and chunk_size, 1MiB", batches(2 << 10)),
            ("batch_size", "power of two", batches(96 << 10)),
            ("batch_size", "power of two", batches(2 << 20)),
            ("batch_size", "power of two", NydusOptions { chunk_size: ByteSize(4 << 10), ..batches(8 << 10) }),
            ("batch_size", "RAFS v5 has no batches", NydusOptions { fs_version: 5, ..batches(64 << 10) }),
            ("batch_size", "leave it out", NydusOptions { oci_ref: true, ..batches(64 << 10) }),
            ("chunk_dictionary", "leave it out", NydusOptions { oci_ref: true, ..with_dictionary.clone() }),
            ("fs_version", "leave one of them out", NydusOptions { oci_ref: true, fs_version: 5, ..good.clone() }),
            (
                "compressor",
                "leave it out",
                NydusOptions { oci_ref: true, compressor: NydusCompressor::None, ..good.clone() },
            ),
            ("prefetch", "glob", NydusOptions { prefetch: vec!["/usr/*".into()], ..good.clone() }),
            ("prefetch", "absolute", NydusOptions { prefetch: vec!["bin/sh".into()], ..good.clone() }),
            ("chunk_dictionary", "fs_version: 6", NydusOptions { fs_version: 5, ..with_dictionary.clone() }),
            (
                "chunk_dictionary",
                "with batches",
                NydusOptions { batch_size: ByteSize(64 << 10), ..with_dictionary.clone() },
            ),
        ];
        assert_eq!(with_dictionary.check(), Ok(()));
        assert_eq!((good.check(), NydusOptions { fs_version: 5, ..good.clone() }.check()), (Ok(()), Ok(())));
        assert_eq!((chunks(4 << 10).check(), chunks(4 << 20).check()), (Ok(()), Ok(())));
        assert_eq!((batches(4 << 10).check(), batches(1 << 20).check()), (Ok(()), Ok(())));
        for (key, reason, options) in rows {
            let (found, said) = options.check().unwrap_err();
            assert!(found == key && said.contains(reason), "{options:?}: {found}: {said}");
        }
    }

    #[test]
    fn a_compressor_is_known_by_its_name_alone() {
        for (name, compressor) in NydusCompressor::ALL {
            assert_eq!((name.parse(), compressor.name()), (Ok(compressor), name));
            assert_eq!(serde_json::to_value(compressor).unwrap(), name);
        }
        assert!("gzip".parse::<NydusCompressor>().unwrap_err().to_string().contains("zstd, lz4_block or none"));
    }
}
