//! Platforms with variants, compared as container runtimes compare them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The platform of a manifest. Spec: OCI image, "Image Index", `platform`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, as in `GOOS`.
    #[serde(default)]
    pub os: String,
    /// The processor architecture, as in `GOARCH`.
    #[serde(default)]
    pub architecture: String,
    /// The variant of the architecture: `v7`, `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Everything else, kept.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A text that is not `os/architecture[/variant]`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a platform: write os/architecture or os/architecture/variant, like linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// Whether an image for `self` is what a person means by `wanted`: a variant that is not named matches any.
    #[must_use]
    pub fn matches(&self, wanted: &Self) -> bool {
        let (own, other) = (self.normalised(), wanted.normalised());
        own.0 == other.0 && own.1 == other.1 && (wanted.variant.is_none() || own.2 == other.2)
    }

    /// Whether this is the `unknown/unknown` that BuildKit gives to attestations.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// (os, architecture, variant) with the usual other names replaced and default variants dropped.
    fn normalised(&self) -> (String, &str, Option<&str>) {
        let os = self.os.to_ascii_lowercase();
        let variant = self.variant.as_deref();
        let (architecture, variant) = match (self.architecture.as_str(), variant) {
            ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", Some("v8" | "8") | None) => ("arm64", None),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None) => ("arm", Some("v7")),
            ("i386", variant) => ("386", variant),
            other => other,
        };
        (os, architecture, variant)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let valid =
            |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        match parts.as_slice() {
            [os, architecture, variant @ ..] if variant.len() <= 1 && parts.iter().all(valid) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: variant.first().map(|v| (*v).to_owned()),
                other: Map::new(),
            }),
            _ => Err(PlatformError(text.chars().take(100).collect())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_as_runtimes_do() {
        let rows = [
            ("linux/amd64", "linux/x86_64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64", "linux/arm64", false),
            ("windows/amd64", "linux/amd64", false),
        ];
        for (image, wanted, expected) in rows {
            let image: Platform = image.parse().unwrap();
            assert_eq!(image.matches(&wanted.parse().unwrap()), expected, "{image} for {wanted}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_platform() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
