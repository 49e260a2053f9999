//! The options of `convert` that say what is made.

use accel_domain::{
    Attestations, ByteSize, EstargzOptions, Format, FormatOptions, NydusCompressor, NydusOptions, Output,
};
use accel_image::{Platform, Reference};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::exit::WrongUsage;

/// What is made of the source.
#[derive(Debug, Args)]
pub(super) struct MadeArgs {
    /// The format to make.
    #[arg(long, default_value = "estargz", value_parser = formats())]
    pub(super) format: Format,
    /// Convert only this platform (os/arch or os/arch/variant); may be repeated.
    #[arg(long)]
    platform: Vec<Platform>,
    /// Compression level, 1 to 12 (estargz).
    #[arg(long)]
    level: Option<u8>,
    /// How chunks are compressed (nydus).
    #[arg(long, value_parser = compressors())]
    compressor: Option<NydusCompressor>,
    /// The version of the file system: 6, or 5, which nydusd alone reads (nydus).
    #[arg(long)]
    fs_version: Option<u8>,
    /// The longest chunk, up to 4MiB; for nydus a power of two.
    #[arg(long)]
    chunk_size: Option<ByteSize>,
    /// Put small files together and compress them as one, up to so many bytes: a power of two, at most a chunk (nydus).
    #[arg(long)]
    batch_size: Option<ByteSize>,
    /// Let small files share a compressed member until it holds so many bytes (estargz).
    #[arg(long)]
    min_chunk_size: Option<ByteSize>,
    /// Make an index that holds the plain images and the Nydus images (nydus).
    #[arg(long)]
    merge_manifest: bool,
    /// A Nydus image whose chunks are not stored again: the result refers to its blobs (nydus).
    #[arg(long, value_name = "HOST/REPOSITORY:TAG")]
    pub(super) chunk_dictionary: Option<Reference>,
    /// Refer to the source's own layers, which have to be gzip, and write only indexes into them (nydus).
    #[arg(long)]
    oci_ref: bool,
    /// A file that is fetched when a container starts: for estargz a glob may be, for nydus a directory, `/` by default;
    /// may be repeated.
    #[arg(long, value_name = "PATH")]
    prefetch: Vec<String>,
    /// Keep BuildKit's attestations, their reference corrected.
    #[arg(long)]
    carry_attestations: bool,
    /// Let the result refer to its source (`subject`), so that registries list it beside it; nydus does by default.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    subject: Option<bool>,
    /// Replace the target even if it was not made by Accel from this source.
    #[arg(long)]
    adopt: bool,
}

fn formats() -> impl clap::builder::TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>())
}

fn compressors() -> impl clap::builder::TypedValueParser<Value = NydusCompressor> {
    let names = NydusCompressor::ALL.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<NydusCompressor>())
}

impl MadeArgs {
    /// What is made of the source.
    pub(super) fn output(&self) -> anyhow::Result<Output> {
        let options = match self.format {
            Format::Estargz => self.estargz()?,
            Format::Nydus => self.nydus()?,
        };
        Ok(Output {
            platforms: self.platform.clone(),
            attestations: if self.carry_attestations { Attestations::Carry } else { Attestations::Drop },
            subject: self.subject.unwrap_or_else(|| self.format.refers_by_default()),
            adopt: self.adopt,
            ..Output::new(options)
        })
    }

    fn estargz(&self) -> anyhow::Result<FormatOptions> {
        self.has_none_of(&[
            ("compressor", self.compressor.is_some()),
            ("fs-version", self.fs_version.is_some()),
            ("batch-size", self.batch_size.is_some()),
            ("merge-manifest", self.merge_manifest),
            ("chunk-dictionary", self.chunk_dictionary.is_some()),
            ("oci-ref", self.oci_ref),
        ])?;
        let default = EstargzOptions::default();
        let options = EstargzOptions {
            level: self.level.unwrap_or(default.level),
            chunk_size: self.chunk_size.unwrap_or(default.chunk_size),
            min_chunk_size: self.min_chunk_size.unwrap_or(default.min_chunk_size),
            prefetch: self.prefetch.clone(),
        };
        options.check().map_err(wrong)?;
        Ok(FormatOptions::Estargz(options))
    }

    fn nydus(&self) -> anyhow::Result<FormatOptions> {
        self.has_none_of(&[("level", self.level.is_some()), ("min-chunk-size", self.min_chunk_size.is_some())])?;
        let default = NydusOptions::default();
        let options = NydusOptions {
            fs_version: self.fs_version.unwrap_or(default.fs_version),
            compressor: self.compressor.unwrap_or(default.compressor),
            chunk_size: self.chunk_size.unwrap_or(default.chunk_size),
            batch_size: self.batch_size.unwrap_or(default.batch_size),
            prefetch: if self.prefetch.is_empty() { default.prefetch } else { self.prefetch.clone() },
            merge_manifest: self.merge_manifest,
            chunk_dictionary: self.chunk_dictionary.clone(),
            oci_ref: self.oci_ref,
        };
        options.check().map_err(wrong)?;
        Ok(FormatOptions::Nydus(options))
    }

    /// Refuses options of other formats.
    fn has_none_of(&self, others: &[(&str, bool)]) -> Result<(), WrongUsage> {
        match others.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(WrongUsage(format!("--{name} is not an option of {}", self.format))),
            None => Ok(()),
        }
    }
}

fn wrong((key, reason): (&str, String)) -> WrongUsage {
    WrongUsage(format!("--{}: {reason}", key.replace('_', "-")))
}
