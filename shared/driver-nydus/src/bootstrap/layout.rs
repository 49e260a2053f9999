//! Numbers of the format.

/// The length of a block.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Inodes begin at multiples of this; an inode's number counts them.
pub(crate) const SLOT_BYTES: u64 = 32;
/// The length of an inode: always the extended form, for the other has no time.
pub(crate) const INODE_BYTES: u64 = 64;

/// Where the superblock begins.
pub(crate) const SUPERBLOCK: usize = 1024;
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;
pub(crate) const COMPAT_RAFS_V6: u32 = 0x4000_0000;
/// Files in chunks, and a table of devices.
pub(crate) const INCOMPAT: u32 = 0xc;
pub(crate) const BLOCK_BITS: u8 = 12;

/// Where RAFS' own superblock begins.
pub(crate) const EXTENDED: usize = SUPERBLOCK + 128;
/// In its reserved bytes: where the links to layers below begin and how long they are. Ours; see `docs/formats/nydus.md`.
pub(crate) const LINKS_BELOW: usize = EXTENDED + 56;
pub(crate) const LINKS_MAGIC: u32 = 0x4b4e_4c41; // "ALNK"

/// Where the table of devices begins.
pub(crate) const DEVICES: usize = 1408;
pub(crate) const DEVICE_SLOT: u16 = 11;
pub(crate) const DEVICE_BYTES: usize = 128;
pub(crate) const BLOB_BYTES: usize = 256;
pub(crate) const CHUNK_BYTES: usize = 80;

/// Flags of RAFS' own superblock.
pub(crate) mod flag {
    pub(crate) const NOT_COMPRESSED: u64 = 1;
    pub(crate) const LZ4: u64 = 2;
    pub(crate) const SHA256: u64 = 8;
    pub(crate) const EXPLICIT_OWNER: u64 = 0x10;
    pub(crate) const HAS_XATTR: u64 = 0x20;
    pub(crate) const GZIP: u64 = 0x40;
    pub(crate) const ZSTD: u64 = 0x80;
    pub(crate) const INLINED_CHUNK_DIGEST: u64 = 0x100;
    pub(crate) const NOT_ENCRYPTED: u64 = 0x100_0000;
}

/// Features of a blob.
pub(crate) mod feature {
    /// Chunks begin at blocks when uncompressed.
    pub(crate) const ALIGNED: u32 = 1;
    /// The blob holds the bootstrap in question: only in that of a layer.
    pub(crate) const INLINED_BOOTSTRAP: u32 = 2;
    /// Of `blob.meta` there is version 2.
    pub(crate) const CHUNK_INFO_V2: u32 = 4;
    /// Chunks lie in a gzip, which can be entered where `blob.meta` says.
    pub(crate) const ZRAN: u32 = 8;
    /// Everything about chunks is in another blob.
    pub(crate) const SEPARATE: u32 = 0x10;
    /// What the blobs of an image that refers to original layers have.
    pub(crate) const ORIGINAL: u32 = CHUNK_INFO_V2 | ZRAN | SEPARATE;
    pub(crate) const INLINED_CHUNK_DIGEST: u32 = 0x20;
    /// Small chunks are stored together.
    pub(crate) const BATCH: u32 = 0x80;
    pub(crate) const HAS_TAR_HEADER: u32 = 0x1000_0000;
    pub(crate) const HAS_TOC: u32 = 0x2000_0000;
    pub(crate) const CAP_TAR_TOC: u32 = 0x4000_0000;
}

/// How an inode's data lies.
pub(crate) mod data_layout {
    /// In blocks.
    pub(crate) const PLAIN: u16 = 0;
    /// In blocks, but for the last part, which follows the inode.
    pub(crate) const INLINE: u16 = 2;
    /// In chunks of devices.
    pub(crate) const CHUNKED: u16 = 4;
}

/// In the format of an inode: the extended form.
pub(crate) const EXTENDED_INODE: u16 = 1;
/// In the chunk format of a file: chunks have entries, not only addresses.
pub(crate) const CHUNK_INDEXES: u32 = 0x20;
/// Where the reserved bytes of an inode begin, and what we put there for a directory that no entry made.
pub(crate) const INODE_RESERVED: usize = 48;
pub(crate) const IMPLICIT_DIRECTORY: u8 = 0x69;

/// Flags of an entry of the chunk table.
pub(crate) const CHUNK_COMPRESSED: u32 = 1;
pub(crate) const CHUNK_IN_BATCH: u32 = 8;

/// Blobs in one image: a device's number has 8 bits, and 0 is the bootstrap.
pub(crate) const MOST_BLOBS: usize = 254;
/// The longest bootstrap of a layer that is read back.
pub(crate) const MOST_LAYER_BOOTSTRAP_BYTES: u64 = 4 << 30;
/// Chunks in one blob: a chunk's number has 24 bits.
pub(crate) const MOST_CHUNKS: u32 = 1 << 24;

/// Types of files in directories, as the kernel numbers them.
pub(crate) mod file_type {
    pub(crate) const FILE: u8 = 1;
    pub(crate) const DIRECTORY: u8 = 2;
    pub(crate) const CHAR_DEVICE: u8 = 3;
    pub(crate) const BLOCK_DEVICE: u8 = 4;
    pub(crate) const FIFO: u8 = 5;
    pub(crate) const SYMLINK: u8 = 7;
}

/// Types of files in modes.
pub(crate) mod mode {
    pub(crate) const TYPE: u16 = 0o170_000;
    pub(crate) const FIFO: u16 = 0o010_000;
    pub(crate) const CHAR_DEVICE: u16 = 0o020_000;
    pub(crate) const DIRECTORY: u16 = 0o040_000;
    pub(crate) const BLOCK_DEVICE: u16 = 0o060_000;
    pub(crate) const FILE: u16 = 0o100_000;
    pub(crate) const SYMLINK: u16 = 0o120_000;
}
