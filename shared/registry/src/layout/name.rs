//! How a person names a layout: `oci:DIR:TAG`, `oci-archive:FILE:TAG`.

use std::path::PathBuf;
use std::str::FromStr;

use accel_image::is_tag;

use super::{Layout, LayoutError};

/// A layout and a tag in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutName {
    /// The directory, or the archive.
    pub path: PathBuf,
    /// Whether it is one tar file.
    pub is_archive: bool,
    /// The tag; `latest` if none was written.
    pub tag: String,
}

impl LayoutName {
    /// Whether `text` is meant as a layout, rightly written or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("oci:") || text.starts_with("oci-archive:")
    }

    /// Opens the layout to read from it.
    ///
    /// # Errors
    /// It is not there, or is none.
    pub async fn open(&self) -> Result<Layout, LayoutError> {
        if self.is_archive { Layout::open_archive(&self.path).await } else { Layout::open_directory(&self.path).await }
    }

    /// Opens the layout to write to it. A directory is made if need be and keeps what it has; an archive is made anew
    /// by [`Layout::finish`].
    ///
    /// # Errors
    /// It cannot be written, or something else is there.
    pub async fn create(&self) -> Result<Layout, LayoutError> {
        if self.is_archive {
            Layout::create_archive(&self.path).await
        } else {
            Layout::create_directory(&self.path).await
        }
    }
}

impl FromStr for LayoutName {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || LayoutError::Name(text.chars().take(300).collect());
        let (is_archive, rest) = match (text.strip_prefix("oci:"), text.strip_prefix("oci-archive:")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(bad()),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (rest, "latest"),
        };
        if path.is_empty() || !is_tag(tag) {
            return Err(bad());
        }
        Ok(Self { path: path.into(), is_archive, tag: tag.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds() {
        let rows = [
            ("oci:out:1.0", Some(("out", false, "1.0"))),
            ("oci:/a/b", Some(("/a/b", false, "latest"))),
            ("oci:/a:b/c", Some(("/a:b/c", false, "latest"))),
            ("oci-archive:x.tar:v1", Some(("x.tar", true, "v1"))),
            ("oci::v1", None),
            ("oci:out:", None),
            ("oci:out:a b", None),
            ("oci:", None),
            ("nginx:1", None),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(path, is_archive, tag)| LayoutName {
                path: path.into(),
                is_archive,
                tag: tag.to_owned(),
            });
            assert_eq!(text.parse::<LayoutName>().ok(), expected, "{text}");
        }
    }
}
