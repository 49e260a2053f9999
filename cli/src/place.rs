//! Where an image is: a registry's repository, or an OCI layout.

use std::fmt;
use std::str::FromStr;

use accel_domain::marker::source_name;
use accel_image::Reference;
use accel_registry::LayoutName;
use anyhow::{Context as _, bail};

/// A place as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `HOST/REPOSITORY:TAG`, `HOST/REPOSITORY@DIGEST`.
    Registry(Reference),
    /// `oci:DIR:TAG`, `oci-archive:FILE:TAG`.
    Layout(LayoutName),
}

impl Place {
    /// The place beside this one whose tag ends in `suffix`.
    pub(crate) fn beside(&self, suffix: &str) -> anyhow::Result<Self> {
        Ok(match self {
            Self::Registry(reference) => {
                let tag = reference.tag().context("the source has no tag: name the TARGET, or add a tag to SOURCE")?;
                Self::Registry(reference.with_tag(&format!("{tag}{suffix}"))?)
            }
            Self::Layout(name) if name.is_archive => bail!("an archive is written anew: name the TARGET"),
            Self::Layout(name) => Self::Layout(LayoutName { tag: format!("{}{suffix}", name.tag), ..name.clone() }),
        })
    }

    /// The tag or digest within the place.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Registry(reference) => reference.manifest_key(),
            Self::Layout(name) => name.tag.clone(),
        }
    }

    /// The place in words that are the same on every machine: a layout is known by its tag alone, since what is made
    /// must not depend on where it lies, nor tell.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Registry(reference) => source_name(reference),
            Self::Layout(name) => format!("oci:{}", name.tag),
        }
    }

    /// Whether both are in the same archive, which cannot be read while it is written anew.
    pub(crate) fn is_same_archive(&self, other: &Self) -> bool {
        let (Self::Layout(one), Self::Layout(other)) = (self, other) else { return false };
        let real = |name: &LayoutName| name.path.canonicalize().unwrap_or_else(|_| name.path.clone());
        one.is_archive && other.is_archive && real(one) == real(other)
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if LayoutName::is_meant(text) {
            return Ok(Self::Layout(text.parse()?));
        }
        let text = text.strip_prefix("docker://").unwrap_or(text);
        Ok(Self::Registry(text.parse()?))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(LayoutName { path, is_archive, tag }) => {
                let kind = if *is_archive { "oci-archive" } else { "oci" };
                write!(f, "{kind}:{}:{tag}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["oci:/tmp/dir:1", "oci-archive:a/b.tar:latest", "localhost:5000/p/r:1"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("oci:/tmp/dir".parse::<Place>().unwrap().to_string(), "oci:/tmp/dir:latest");
        assert_eq!("docker://h.example/r:1".parse::<Place>().unwrap().to_string(), "h.example/r:1");
        for text in ["oci:", "oci::x", "oci:dir:not a tag", "UPPER:x y"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_target_stands_beside_the_source() {
        for (source, target) in [
            ("localhost:5000/p/r:1", Some("localhost:5000/p/r:1-esgz")),
            ("oci:dir:1", Some("oci:dir:1-esgz")),
            ("oci-archive:a.tar:1", None),
            (&format!("localhost:5000/p/r@sha256:{}", "0".repeat(64)), None),
        ] {
            let beside = source.parse::<Place>().unwrap().beside("-esgz");
            assert_eq!(beside.ok().map(|place| place.to_string()).as_deref(), target, "{source}");
        }
    }

    #[test]
    fn what_is_written_into_an_image_does_not_tell_where_a_layout_lies() {
        for (text, identity) in [
            ("oci:/home/me/secret:1", "oci:1"),
            ("oci-archive:/home/me/x.tar:1", "oci:1"),
            ("localhost:5000/p/r:1", "localhost:5000/p/r:1"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().identity(), identity);
        }
    }

    #[test]
    fn an_archive_is_the_same_under_any_tag() {
        let same = |one: &str, other: &str| one.parse::<Place>().unwrap().is_same_archive(&other.parse().unwrap());
        assert!(same("oci-archive:a.tar:1", "oci-archive:a.tar:2"));
        assert!(!same("oci-archive:a.tar:1", "oci-archive:b.tar:1"));
        assert!(!same("oci:a:1", "oci:a:2"));
    }
}
