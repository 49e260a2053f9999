//! What an image is made of, as data.

use accel_domain::Marker;
use accel_image::Digest;
use serde::Serialize;

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectReport {
    /// The digest of what stands under the tag.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Whether it is an index.
    pub is_index: bool,
    /// What Accel made it of; `None` for images of others.
    pub origin: Option<Origin>,
    /// Its images, one a platform.
    pub images: Vec<ImageContents>,
    /// How many attestations the index lists.
    pub attestations: u64,
}

/// What Accel made an image of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The source's reference.
    pub source: String,
    /// The source's digest.
    pub source_digest: Digest,
    /// Format and version.
    pub format: String,
}

impl From<Marker> for Origin {
    fn from(marker: Marker) -> Self {
        Self { source: marker.source, source_digest: marker.source_digest, format: marker.format }
    }
}

/// One platform's image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageContents {
    /// The platform, as its configuration says.
    pub platform: String,
    /// The manifest.
    pub digest: Digest,
    /// The configuration.
    pub config: Digest,
    /// Bytes of configuration and layers.
    pub size: u64,
    /// The layers, bottom first.
    pub layers: Vec<LayerContents>,
}

/// What a layer's blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerFormat {
    /// gzip with a footer and a TOC.
    Estargz,
    /// zstd with a TOC, as its annotations say.
    ZstdChunked,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// Chunks of a Nydus image.
    #[serde(rename = "nydus-blob")]
    NydusBlob,
    /// The file system of a Nydus image.
    #[serde(rename = "nydus-bootstrap")]
    NydusBootstrap,
    /// A bare tar, or something that is no layer.
    Plain,
    /// Not in the registry: it may not be distributed.
    Foreign,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerContents {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// What its blob is.
    pub format: LayerFormat,
    /// What it decompresses to, in bytes, where an annotation says so.
    pub uncompressed_size: Option<u64>,
    /// How Accel made it: format, version, hash of the options.
    pub made_with: Option<String>,
    /// What its TOC says.
    pub toc: Option<TocContents>,
    /// What its bootstrap says, where it is that of a Nydus image.
    pub bootstrap: Option<BootstrapContents>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// What a TOC says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TocContents {
    /// The digest of its JSON.
    pub digest: Digest,
    /// Whether that is what the layer's annotation says; `None` where there is no annotation.
    pub digest_agrees: Option<bool>,
    /// Bytes of its member and the footer.
    pub size: u64,
    /// Bytes of its JSON.
    pub json_size: u64,
    /// Regular files, without the format's own.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Hard links.
    pub hardlinks: u64,
    /// Devices and pipes.
    pub others: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Chunks of all files.
    pub chunks: u64,
    /// Where what a container needs first ends.
    pub landmark: Landmark,
    /// The largest file.
    pub largest: Option<LargestFile>,
}

/// What the bootstrap of a Nydus image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootstrapContents {
    /// The version of the file system.
    pub fs_version: u32,
    /// Bytes of the bootstrap, uncompressed.
    pub size: u64,
    /// How chunks are compressed.
    pub compressor: &'static str,
    /// The longest chunk.
    pub chunk_size: u64,
    /// Whether small chunks are stored together, in batches.
    pub batches: bool,
    /// The blobs that hold what the files hold.
    pub blobs: Vec<Digest>,
    /// Chunks of those blobs.
    pub chunks: u64,
    /// Regular files.
    pub files: u64,
    /// Directories, the root among them.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further paths of files.
    pub hardlinks: u64,
    /// Devices and pipes.
    pub others: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Files and directories that are fetched ahead.
    pub prefetched: u64,
    /// The largest file.
    pub largest: Option<LargestFile>,
}

/// Where what a container needs first ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Landmark {
    /// The layer does not say.
    Missing,
    /// Nothing is fetched ahead.
    NoPrefetch,
    /// This is fetched ahead.
    Prefetch {
        /// Entries before the landmark.
        entries: u64,
        /// Bytes of the files among them.
        file_bytes: u64,
        /// Bytes of the blob before the landmark.
        blob_bytes: u64,
    },
}

/// The largest file of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LargestFile {
    /// Its name, as the tar has it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}
