//! How far a task is.

use serde::{Deserialize, Serialize};

/// How far a task is. Sizes are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Distinct source layers over all platforms.
    pub layers_total: u32,
    /// Layers converted by this task.
    pub layers_converted: u32,
    /// Layers whose result was remembered.
    pub layers_reused: u32,
    /// Layers mounted from another repository.
    pub layers_mounted: u32,
    /// Layers that stay as they were.
    pub layers_kept: u32,
    /// Layer bytes read from the source's registry.
    pub bytes_read: u64,
    /// Layer bytes written to the target's registry.
    pub bytes_written: u64,
}

impl Progress {
    /// Layers that are finished, in whatever way.
    #[must_use]
    pub const fn layers_done(&self) -> u32 {
        self.layers_converted
            .saturating_add(self.layers_reused)
            .saturating_add(self.layers_mounted)
            .saturating_add(self.layers_kept)
    }

    /// This and what was done after it; how many layers there are is what either knows.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            layers_total: self.layers_total.max(more.layers_total),
            layers_converted: self.layers_converted.saturating_add(more.layers_converted),
            layers_reused: self.layers_reused.saturating_add(more.layers_reused),
            layers_mounted: self.layers_mounted.saturating_add(more.layers_mounted),
            layers_kept: self.layers_kept.saturating_add(more.layers_kept),
            bytes_read: self.bytes_read.saturating_add(more.bytes_read),
            bytes_written: self.bytes_written.saturating_add(more.bytes_written),
        }
    }
}
