//! What determines the bytes of an eStargz layer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_prefetch;
use crate::ByteSize;

/// Options of eStargz.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EstargzOptions {
    /// Compression level of libdeflate, 1 (fast) to 12 (small).
    #[schemars(range(min = 1, max = 12))]
    pub level: u8,
    /// Files larger than this are split into chunks that are fetched alone; 4MiB at most.
    pub chunk_size: ByteSize,
    /// Small files share a compressed member until it holds this many bytes. 0 gives each file its own;
    /// above 0 needs stargz-snapshotter 0.13 or later.
    pub min_chunk_size: ByteSize,
    /// Files that are fetched when a container starts: absolute paths, globs allowed.
    pub prefetch: Vec<String>,
}

/// The largest `chunk_size`.
const MAX_CHUNK_BYTES: u64 = 4 << 20;

impl Default for EstargzOptions {
    fn default() -> Self {
        Self { level: 5, chunk_size: ByteSize(MAX_CHUNK_BYTES), min_chunk_size: ByteSize(0), prefetch: Vec::new() }
    }
}

impl EstargzOptions {
    /// What is wrong with these options, if anything: (key, reason).
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=12).contains(&self.level) {
            return Err(("level", format!("{} is not between 1 and 12", self.level)));
        }
        if !(4096..=MAX_CHUNK_BYTES).contains(&self.chunk_size.0) {
            return Err(("chunk_size", format!("{} is not between 4KiB and 4MiB", self.chunk_size)));
        }
        if self.min_chunk_size.0 > self.chunk_size.0 {
            return Err(("min_chunk_size", format!("{} is larger than chunk_size", self.min_chunk_size)));
        }
        check_prefetch(&self.prefetch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_option_that_is_out_of_range() {
        let good = EstargzOptions::default();
        let rows = [
            ("level", EstargzOptions { level: 0, ..good.clone() }),
            ("chunk_size", EstargzOptions { chunk_size: ByteSize(5 << 20), ..good.clone() }),
            ("min_chunk_size", EstargzOptions { min_chunk_size: ByteSize(5 << 20), ..good.clone() }),
            ("prefetch", EstargzOptions { prefetch: vec!["bin/sh".into()], ..good.clone() }),
        ];
        assert_eq!(good.check(), Ok(()));
        for (key, options) in rows {
            assert_eq!(options.check().unwrap_err().0, key);
        }
    }
}
