//! Numbers of the format.

/// What has a place of its own begins at a multiple of this.
pub(crate) const ALIGN: u64 = 8;
/// The length of the superblock.
pub(crate) const SUPERBLOCK_BYTES: u64 = 8192;
pub(crate) const MAGIC: u32 = 0x5241_4653;
pub(crate) const VERSION: u32 = 0x500;

/// In the superblock's reserved bytes, of a layer alone: where the links to layers below begin and how long they are. Ours;
/// see `docs/formats/nydus.md`.
pub(crate) const LINKS_BELOW: u64 = 4096;
/// What a layer's bootstrap ends with: the SHA-256 of everything before. Ours, too.
pub(crate) const DIGEST_BYTES: u64 = 32;

/// The length of an inode without what follows it.
pub(crate) const INODE_BYTES: u64 = 128;
/// Where the reserved bytes of an inode begin.
pub(crate) const INODE_RESERVED: u64 = 120;
/// The length of what a blob's chunks are, in a table of its own.
pub(crate) const EXTENDED_BLOB_BYTES: u64 = 64;
/// What is before the name in the table of blobs: a range to fetch ahead, which is empty.
pub(crate) const BLOB_HEAD_BYTES: u64 = 8;
/// What is before extended attributes: their length.
pub(crate) const XATTR_HEAD_BYTES: u64 = 8;

/// The number of the root.
pub(crate) const ROOT: u32 = 1;
/// The name of the root.
pub(crate) const ROOT_NAME: &[u8] = b"/";
/// The longest bootstrap: nydusd loads twice as much, but whoever looks at one here has it whole in memory.
pub(crate) const MOST_BYTES: u64 = 1 << 30;

/// Flags of an inode.
pub(crate) mod inode_flag {
    pub(crate) const SYMLINK: u64 = 1;
    pub(crate) const HARDLINK: u64 = 2;
    pub(crate) const XATTR: u64 = 4;
    /// Its chunks are not those of its whole content.
    pub(crate) const HOLES: u64 = 8;
}
