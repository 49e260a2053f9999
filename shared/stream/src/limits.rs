//! What a layer may cost us. Each limit is an error by name when it is passed, never a cut-off.

const MIB: u64 = 1 << 20;

/// The bounds on one layer; `Default` gives the values of the contracts, all can be raised by configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the tar, global headers included.
    pub entries: u64,
    /// Length of a path and of a link target, in bytes.
    pub path_bytes: u64,
    /// Length of the payload of one PAX or GNU extension header, in bytes. An entry's extension headers together
    /// may take little more than this, so that a chain of them cannot fill the memory.
    pub pax_bytes: u64,
    /// Length of the uncompressed tar, in bytes.
    pub layer_bytes: u64,
    /// Uncompressed bytes for each compressed byte, looked at past [`Limits::RATIO_FREE_BYTES`].
    pub ratio: u64,
    /// Window that a zstd frame may ask us to keep, in bytes.
    pub zstd_window_bytes: u64,
}

impl Limits {
    /// Output below which no ratio is too high: a small layer of zeros is no bomb.
    pub const RATIO_FREE_BYTES: u64 = 16 * MIB;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            path_bytes: 4096,
            pax_bytes: MIB,
            layer_bytes: 65_536 * MIB,
            ratio: 1000,
            zstd_window_bytes: 128 * MIB,
        }
    }
}
