//! The formats Accel produces, their versions, and the options that determine their bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// A format Accel produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Seekable tar.gz layers with a table of contents; any runtime can unpack them.
    Estargz,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 1] = [Self::Estargz];

    /// The name in configuration, tasks and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Estargz => "estargz",
        }
    }

    /// The version of the bytes: raised whenever the same input and options give other output.
    #[must_use]
    pub const fn version(self) -> u32 {
        match self {
            Self::Estargz => 2,
        }
    }

    /// What a tag of this format usually ends with.
    #[must_use]
    pub const fn tag_suffix(self) -> &'static str {
        match self {
            Self::Estargz => "-esgz",
        }
    }

    /// The format with its default options.
    #[must_use]
    pub fn default_options(self) -> FormatOptions {
        match self {
            Self::Estargz => FormatOptions::Estargz(EstargzOptions::default()),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| UnknownFormat(text.chars().take(40).collect()))
    }
}

/// A name that is no format of Accel's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a format: Accel writes estargz")]
pub struct UnknownFormat(String);

/// A format with its options.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "format", rename_all = "lowercase")]
pub enum FormatOptions {
    /// eStargz.
    Estargz(EstargzOptions),
}

impl FormatOptions {
    /// The format.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self {
            Self::Estargz(_) => Format::Estargz,
        }
    }

    /// What determines the bytes of a layer, hashed: part of a layer record's key.
    ///
    /// # Panics
    /// Never: options always serialise.
    #[must_use]
    pub fn layer_hash(&self) -> accel_image::Digest {
        accel_image::Digest::of(&serde_json::to_vec(self).expect("options have only string keys"))
    }
}

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
pub const MAX_CHUNK_BYTES: u64 = 4 << 20;

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
        match self.prefetch.iter().find(|pattern| !pattern.starts_with('/')) {
            Some(pattern) => Err(("prefetch", format!("`{pattern}` is not an absolute path"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_they_were_written() {
        let options = FormatOptions::Estargz(EstargzOptions { prefetch: vec!["/bin/sh".into()], ..Default::default() });
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.starts_with(r#"{"format":"estargz","level":5,"chunk_size":"4MiB""#), "{text}");
        assert_eq!(serde_json::from_str::<FormatOptions>(&text).unwrap(), options);
    }

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
