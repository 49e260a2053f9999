//! The formats Accel produces, their versions, and the options that determine their bytes.

mod estargz;
mod nydus;

use accel_image::{Digest, Reference};
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
    /// Layers of chunks and one file system (RAFS) over all of them, for nydusd and the kernel's EROFS.
    Nydus,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Estargz, Self::Nydus];

    /// The name in configuration, tasks and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Estargz => "estargz",
            Self::Nydus => "nydus",
        }
    }

    /// The version of the bytes: raised whenever the same input and options give other output.
    #[must_use]
    pub const fn version(self) -> u32 {
        match self {
            Self::Estargz => 2,
            Self::Nydus => 1,
        }
    }

    /// What a tag of this format usually ends with.
    #[must_use]
    pub const fn tag_suffix(self) -> &'static str {
        match self {
            Self::Estargz => "-esgz",
            Self::Nydus => "-nydus",
        }
    }

    /// Whether a target refers to its source unless its rule says otherwise. Harbor shows a Nydus image as an accessory of
    /// its source only then, and does not try to scan it.
    #[must_use]
    pub const fn refers_by_default(self) -> bool {
        match self {
            Self::Estargz => false,
            Self::Nydus => true,
        }
    }

    /// The format with its default options.
    #[must_use]
    pub fn default_options(self) -> FormatOptions {
        match self {
            Self::Estargz => FormatOptions::Estargz(EstargzOptions::default()),
            Self::Nydus => FormatOptions::Nydus(NydusOptions::default()),
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
#[error("`{0}` is not a format: Accel writes estargz and nydus")]
pub struct UnknownFormat(String);

/// A format with its options.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "format", rename_all = "lowercase")]
pub enum FormatOptions {
    /// eStargz.
    Estargz(EstargzOptions),
    /// Nydus.
    Nydus(NydusOptions),
}

impl FormatOptions {
    /// The format.
    #[must_use]
    pub const fn format(&self) -> Format {
        match self {
            Self::Estargz(_) => Format::Estargz,
            Self::Nydus(_) => Format::Nydus,
        }
    }

    /// The image to whose chunks layers refer.
    #[must_use]
    pub const fn chunk_dictionary(&self) -> Option<&Reference> {
        match self {
            Self::Estargz(_) => None,
            Self::Nydus(options) => options.chunk_dictionary.as_ref(),
        }
    }

    /// The same options with the image to whose chunks layers refer at `digest`, if there is one.
    #[must_use]
    pub fn with_chunk_dictionary_at(&self, digest: Digest) -> Self {
        match self {
            Self::Estargz(_) => self.clone(),
            Self::Nydus(options) => {
                let chunk_dictionary = options.chunk_dictionary.as_ref().map(|image| image.with_digest(digest));
                Self::Nydus(NydusOptions { chunk_dictionary, ..options.clone() })
            }
        }
    }

    /// What determines the bytes of a layer, hashed: part of a layer record's key. Of a Nydus image's options some concern
    /// only its last layer, which is made for each image, or its documents. Of a chunk dictionary, which has to be named by
    /// its digest (see [`Self::with_chunk_dictionary_at`]), nothing else counts.
    ///
    /// # Panics
    /// Never: options always serialise.
    #[must_use]
    pub fn layer_hash(&self) -> Digest {
        let of_layer = match self {
            Self::Estargz(_) => self.clone(),
            Self::Nydus(options) => Self::Nydus(NydusOptions {
                prefetch: Vec::new(),
                merge_manifest: false,
                chunk_dictionary: None,
                ..options.clone()
            }),
        };
        let mut text = serde_json::to_vec(&of_layer).expect("options have only string keys");
        text.extend(self.chunk_dictionary().map(Reference::manifest_key).unwrap_or_default().into_bytes());
        Digest::of(&text)
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
    use crate::ByteSize;

    #[test]
    fn options_come_back_as_they_were_written() {
        let options = FormatOptions::Estargz(EstargzOptions { prefetch: vec!["/bin/sh".into()], ..Default::default() });
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.starts_with(r#"{"format":"estargz","level":5,"chunk_size":"4MiB""#), "{text}");
        assert_eq!(serde_json::from_str::<FormatOptions>(&text).unwrap(), options);
        let text = serde_json::to_string(&Format::Nydus.default_options()).unwrap();
        let expected = r#"{"format":"nydus","fs_version":6,"compressor":"zstd","chunk_size":"1MiB","prefetch":["/"]}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<FormatOptions>(&text).unwrap(), Format::Nydus.default_options());
        let merged = FormatOptions::Nydus(NydusOptions { merge_manifest: true, ..Default::default() });
        let text = serde_json::to_string(&merged).unwrap();
        assert!(text.ends_with(r#","merge_manifest":true}"#), "{text}");
        assert_eq!(serde_json::from_str::<FormatOptions>(&text).unwrap(), merged);
    }

    #[test]
    fn what_concerns_only_the_end_of_a_nydus_image_is_nothing_of_its_layers() {
        let options = |prefetch: &[&str], chunk_size| {
            let prefetch = prefetch.iter().map(ToString::to_string).collect();
            FormatOptions::Nydus(NydusOptions { prefetch, chunk_size: ByteSize(chunk_size), ..NydusOptions::default() })
        };
        assert_eq!(options(&["/"], 4096).layer_hash(), options(&[], 4096).layer_hash());
        let FormatOptions::Nydus(plain) = options(&[], 4096) else { panic!("it is Nydus") };
        let merged = FormatOptions::Nydus(NydusOptions { merge_manifest: true, ..plain });
        assert_eq!(merged.layer_hash(), options(&[], 4096).layer_hash());
        assert_ne!(options(&["/"], 4096).layer_hash(), options(&["/"], 8192).layer_hash());
    }

    #[test]
    fn a_chunk_dictionary_is_part_of_a_layer_by_its_digest() {
        let named = |name: &str| {
            let chunk_dictionary = Some(name.parse().unwrap());
            FormatOptions::Nydus(NydusOptions { chunk_dictionary, ..NydusOptions::default() })
        };
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let dictionary = named("h.example/d:1");
        let hashes = [one, other].map(|digest| dictionary.with_chunk_dictionary_at(digest).layer_hash());
        assert_ne!(hashes[0], hashes[1]);
        assert!(!hashes.contains(&Format::Nydus.default_options().layer_hash()));
        assert_eq!(hashes[0], named("o.example/x:2").with_chunk_dictionary_at(one).layer_hash(), "wherever it lies");
        let text = serde_json::to_string(&dictionary).unwrap();
        assert!(text.ends_with(r#","chunk_dictionary":"h.example/d:1"}"#), "{text}");
        assert_eq!(serde_json::from_str::<FormatOptions>(&text).unwrap(), dictionary);
    }

    #[test]
    fn a_format_is_known_by_its_name_alone() {
        for format in Format::ALL {
            assert_eq!((format.name().parse(), format.default_options().format()), (Ok(format), format));
        }
        assert!("Nydus".parse::<Format>().unwrap_err().to_string().contains("estargz and nydus"));
    }
}
