//! Names and annotations.

/// Annotation: the layer is a blob of chunks. Runtimes do not unpack it.
pub const BLOB: &str = "containerd.io/snapshot/nydus-blob";
/// Annotation: the layer holds the bootstrap.
pub const BOOTSTRAP: &str = "containerd.io/snapshot/nydus-bootstrap";
/// Annotation of the bootstrap layer: the version of RAFS.
pub const FS_VERSION: &str = "containerd.io/snapshot/nydus-fs-version";

/// Annotation of a blob that is an index into an original layer: the digest of that.
pub const REF_LAYER: &str = "containerd.io/snapshot/nydus-ref";

/// The file of the bootstrap layer that is the bootstrap.
pub(crate) const BOOTSTRAP_PATH: &str = "image/image.boot";

/// Sections of a blob.
pub(crate) mod section {
    pub(crate) const DATA: &str = "image.blob";
    pub(crate) const META: &str = "blob.meta";
    pub(crate) const META_HEADER: &str = "blob.meta.header";
    pub(crate) const DIGESTS: &str = "blob.digest";
    pub(crate) const BOOTSTRAP: &str = "image.boot";
    pub(crate) const TOC: &str = "rafs.blob.toc";
}

/// What names of files that remove something begin with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The file that empties its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
