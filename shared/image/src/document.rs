//! A manifest or an index as a registry sent it: its bytes, its digest, and what it turned out to be.

use bytes::Bytes;
use serde_json::Value;

use crate::shown::shown;
use crate::{Descriptor, Digest, Index, Manifest, media_type};

/// No registry accepts larger manifests, and no honest image has one.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// What stands under a tag.
#[expect(clippy::large_enum_variant, reason = "documents are few and live on the stack briefly")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One platform's image.
    Manifest(Manifest),
    /// An image for several platforms.
    Index(Index),
}

/// Why bytes are neither a manifest nor an index that Accel can read. Always Permanent.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT_BYTES`].
    #[error("the manifest has {0} bytes, more than the limit of {MAX_DOCUMENT_BYTES}")]
    TooLarge(usize),
    /// Docker's first format, without content-addressed configuration.
    #[error("the image has a Docker schema 1 manifest, which is not supported: push it again with a current client")]
    Schema1,
    /// Something else than an image.
    #[error("media type `{0}` is neither an image manifest nor an index")]
    MediaType(String),
    /// The body and the Content-Type header disagree.
    #[error("the manifest says it is `{body}`, the registry says `{header}`")]
    Disagree {
        /// The `mediaType` member.
        body: String,
        /// The Content-Type header.
        header: String,
    },
    /// Both `manifests` and `layers`: one of them is there to deceive.
    #[error("the manifest has both `layers` and `manifests`")]
    Ambiguous,
    /// Not JSON, or not of this shape.
    #[error("the manifest cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl Document {
    /// Reads a manifest or an index. `content_type` is the registry's Content-Type header, if there was one.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let value: Value = serde_json::from_slice(bytes)?;
        let kind = media_type_of(&value, content_type)?;
        match kind.as_str() {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
                let mut manifest: Manifest = serde_json::from_value(value)?;
                manifest.media_type = kind;
                Ok(Self::Manifest(manifest))
            }
            media_type::OCI_INDEX | media_type::DOCKER_LIST => {
                let mut index: Index = serde_json::from_value(value)?;
                index.media_type = kind;
                Ok(Self::Index(index))
            }
            media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED => Err(DocumentError::Schema1),
            _ => Err(DocumentError::MediaType(shown(&kind, 200))),
        }
    }

    /// The document's media type.
    #[must_use]
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }

    /// The document's annotations.
    #[must_use]
    pub const fn annotations(&self) -> &crate::Annotations {
        match self {
            Self::Manifest(manifest) => &manifest.annotations,
            Self::Index(index) => &index.annotations,
        }
    }
}

/// The media type that body, header and shape agree on.
fn media_type_of(value: &Value, content_type: Option<&str>) -> Result<String, DocumentError> {
    let body = value.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    let header = content_type.map(|t| t.split(';').next().unwrap_or(t).trim()).unwrap_or_default();
    let (layers, manifests) = (value.get("layers").is_some(), value.get("manifests").is_some());
    if layers && manifests {
        return Err(DocumentError::Ambiguous);
    }
    if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
        return Err(DocumentError::Schema1);
    }
    let known = |t: &str| t.contains("manifest") || t.contains("index");
    if !body.is_empty() && known(header) && body != header {
        return Err(DocumentError::Disagree { body: shown(body, 200), header: shown(header, 200) });
    }
    Ok(match (body, header) {
        ("", header) if known(header) => header.to_owned(),
        ("", _) if manifests => media_type::OCI_INDEX.to_owned(),
        ("", _) if layers => media_type::OCI_MANIFEST.to_owned(),
        ("", header) => header.to_owned(),
        (body, _) => body.to_owned(),
    })
}

/// A document with its raw bytes, which alone have its digest.
#[derive(Debug, Clone)]
pub struct RawDocument {
    /// What it is.
    pub document: Document,
    /// As it was sent.
    pub bytes: Bytes,
    /// The digest of `bytes`.
    pub digest: Digest,
}

impl RawDocument {
    /// Reads `bytes` and keeps them.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(bytes: Bytes, content_type: Option<&str>) -> Result<Self, DocumentError> {
        let document = Document::parse(&bytes, content_type)?;
        let digest = Digest::of(&bytes);
        Ok(Self { document, bytes, digest })
    }

    /// A descriptor of these bytes.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.document.media_type(), self.digest, self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    fn manifest(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[]{extra}}}"#)
    }

    #[test]
    fn keeps_what_it_does_not_understand() {
        let text = manifest(r#","annotations":null,"x-new":{"a":[1]}"#);
        let Document::Manifest(read) = Document::parse(text.as_bytes(), None).unwrap() else { panic!("a manifest") };
        assert_eq!(read.other["x-new"]["a"][0], 1);
        let again = Document::parse(&read.to_bytes(), Some(media_type::OCI_MANIFEST)).unwrap();
        assert_eq!(again, Document::Manifest(read));
    }

    #[test]
    fn a_refusal_repeats_little_and_nothing_odd() {
        let odd = format!("application/x.manifest\\u001b[2J{}", "x".repeat(5000));
        let text = manifest(&format!(r#","mediaType":"{odd}""#));
        for header in [None, Some(media_type::OCI_MANIFEST)] {
            let error = Document::parse(text.as_bytes(), header).unwrap_err().to_string();
            assert!(error.len() < 500 && !error.contains(char::is_control), "{error}");
        }
    }

    #[test]
    fn refuses_by_name() {
        let both = manifest(r#","manifests":[]"#);
        let other = manifest(r#","mediaType":"application/vnd.oci.image.index.v1+json""#);
        let helm = manifest(r#","mediaType":"text/html""#);
        let rows: [(&str, Option<&str>, &str); 6] = [
            ("<html>", Some("text/html"), "cannot be read"),
            (r#"{"schemaVersion":1}"#, None, "schema 1"),
            (&both, None, "both"),
            (&other, Some(media_type::OCI_MANIFEST), "the registry says"),
            (&helm, None, "neither"),
            (r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#, None, "config"),
        ];
        for (text, header, expected) in rows {
            let error = Document::parse(text.as_bytes(), header).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
