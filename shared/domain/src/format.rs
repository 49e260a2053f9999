//! The formats Accel produces, their versions, and the options that determine their bytes.

mod estargz;
mod nydus;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use estargz::EstargzOptions;
pub use nydus::{NydusCompressor, NydusOptions, UnknownCompressor};

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

/// Patterns of files that are fetched ahead are absolute.
fn check_prefetch(patterns: &[String]) -> Result<(), (&'static str, String)> {
    match patterns.iter().find(|pattern| !pattern.starts_with('/')) {
        Some(pattern) => Err(("prefetch", format!("`{pattern}` is not an absolute path"))),
        None => Ok(()),
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
}
