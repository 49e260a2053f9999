//! What was found.

use accel_image::Digest;
use serde::Serialize;

/// Differences that are kept in words; the others are counted.
const DIFFERENCES_SHOWN: usize = 20;

/// What was compared, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The digest of the source's manifest or index.
    pub source: Digest,
    /// The digest of the target's manifest or index.
    pub target: Digest,
    /// Whether the target says what it was made of.
    pub marked: bool,
    /// Platforms that were compared.
    pub platforms: Vec<String>,
    /// Platforms of the source that the target does not have.
    pub platforms_left_out: Vec<String>,
    /// Distinct layers that were compared byte by byte.
    pub layers_checked: u64,
    /// Distinct layers that both images share.
    pub layers_kept: u64,
    /// Entries of the layers that were compared.
    pub entries: u64,
    /// Chunks whose place and digest were compared.
    pub chunks: u64,
    /// Bytes of the target's layers that were compared.
    pub bytes: u64,
    /// The first differences, in words. None means that the target is right.
    pub differences: Vec<String>,
    /// How many there are in all.
    pub differences_found: u64,
}

impl VerifyReport {
    pub(super) const fn new(source: Digest, target: Digest) -> Self {
        Self {
            source,
            target,
            marked: false,
            platforms: Vec::new(),
            platforms_left_out: Vec::new(),
            layers_checked: 0,
            layers_kept: 0,
            entries: 0,
            chunks: 0,
            bytes: 0,
            differences: Vec::new(),
            differences_found: 0,
        }
    }

    /// Whether the target is right.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.differences_found == 0
    }

    /// A report of the same images in which nothing was found yet.
    pub(super) const fn empty(&self) -> Self {
        Self::new(self.source, self.target)
    }

    pub(super) fn differs(&mut self, difference: impl Into<String>) {
        self.differences_found += 1;
        if self.differences.len() < DIFFERENCES_SHOWN {
            self.differences.push(difference.into());
        }
    }

    /// Adds what was found of a layer.
    pub(super) fn add(&mut self, layer: Self) {
        self.layers_checked += layer.layers_checked;
        self.layers_kept += layer.layers_kept;
        self.entries += layer.entries;
        self.chunks += layer.chunks;
        self.bytes += layer.bytes;
        let unsaid = layer.differences_found - layer.differences.len() as u64;
        layer.differences.into_iter().for_each(|difference| self.differs(difference));
        self.differences_found += unsaid;
    }
}
