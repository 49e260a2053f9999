//! Image references: host, repository, tag, digest.

mod grammar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;
use crate::shown::shown;

pub use grammar::is_tag;

/// A reference to an image: `host[:port]/repository[:tag][@digest]`.
///
/// A missing host is `docker.io` (with `library/` before a name of one component); a missing tag stays missing
/// if there is a digest and is `latest` otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: String,
}

impl ReferenceError {
    fn new(text: &str, reason: impl fmt::Display) -> Self {
        // The grammar repeats what it does not like.
        Self { text: shown(text, 300), reason: shown(&reason.to_string(), 300) }
    }
}

impl Reference {
    /// A reference from its parts, each checked against the grammar.
    ///
    /// # Errors
    /// A part that does not follow the grammar, or neither tag nor digest.
    pub fn new(
        host: &str,
        repository: &str,
        tag: Option<&str>,
        digest: Option<Digest>,
    ) -> Result<Self, ReferenceError> {
        let mut text = format!("{host}/{repository}");
        if let Some(tag) = tag {
            text = format!("{text}:{tag}");
        }
        if let Some(digest) = digest {
            text = format!("{text}@{digest}");
        }
        let parsed: Self = text.parse()?;
        let same = parsed.host == host && parsed.repository == repository && parsed.tag.as_deref() == tag;
        if same { Ok(parsed) } else { Err(ReferenceError::new(&text, "its parts do not follow the grammar")) }
    }

    /// The registry's host, with its port if one was given.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository, without host, tag and digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The first component of the repository: Harbor's project.
    #[must_use]
    pub fn project(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }

    /// The repository without its first component; the whole of it if it has one component only.
    #[must_use]
    pub fn name(&self) -> &str {
        self.repository.split_once('/').map_or(&self.repository, |(_, name)| name)
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository at `tag`, without a digest.
    ///
    /// # Errors
    /// The tag does not follow the grammar.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        Self::new(&self.host, &self.repository, Some(tag), None)
    }

    /// The same repository at `digest`, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// `host/repository`, without tag and digest.
    #[must_use]
    pub fn repository_name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// What a registry's manifest URL ends with: the digest if there is one, the tag otherwise.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 1024 {
            return Err(ReferenceError::new(text, "it is longer than 1024 bytes"));
        }
        let grammar::Parts { host, repository, tag, digest } =
            grammar::parse(text).map_err(|reason| ReferenceError::new(text, reason))?;
        Ok(Self { host, repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_shape() {
        let digest = Digest::of(b"");
        let at = format!("h.example:5000/a/b/c:1.0@{digest}");
        let rows = [
            ("nginx", "docker.io", "library/nginx", Some("latest"), None),
            ("nginx:1", "docker.io", "library/nginx", Some("1"), None),
            ("localhost:5000/x:y", "localhost:5000", "x", Some("y"), None),
            ("h.example/p/r", "h.example", "p/r", Some("latest"), None),
            (&at, "h.example:5000", "a/b/c", Some("1.0"), Some(digest)),
        ];
        for (text, host, repository, tag, digest) in rows {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.host(), reference.repository()), (host, repository), "{text}");
            assert_eq!((reference.tag(), reference.digest()), (tag, digest), "{text}");
        }
    }

    #[test]
    fn a_digest_alone_has_no_tag() {
        let digest = Digest::of(b"");
        let text = format!("localhost:5000/p/r@{digest}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.to_string(), text);
        assert_eq!(reference.manifest_key(), digest.to_string());
    }

    #[test]
    fn refuses_what_is_not_a_reference() {
        let long = format!("h.example/r:{}", "a".repeat(129));
        for text in [
            "",
            "h.example/UPPER:x",
            "h.example/a//b",
            "user:pw@h.example/r",
            "h.example/r:ta g",
            "h/r@sha256:0",
            &long,
            "h.example/../r",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_cannot_command_a_terminal() {
        for text in ["libr\u{1}ry/nginx", "h.example/a:b\u{1b}[2J", "h.example/\u{9b}:x", "h.example/r@sha256:\n"] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn parts_cannot_smuggle_other_parts() {
        assert!(Reference::new("h.example", "r:tag", None, None).is_err());
        assert!(Reference::new("h.example/p", "r", Some("t"), None).is_err());
        assert!(Reference::new("h.example", "p/r", Some("t"), None).is_ok());
    }

    #[test]
    fn project_and_name_split_at_the_first_slash() {
        let reference: Reference = "h.example/p/team/app:1".parse().unwrap();
        assert_eq!((reference.project(), reference.name()), ("p", "team/app"));
    }
}
