//! The marker: annotations by which Accel knows its own results, and what they were made of.

use accel_image::{Annotations, Digest, Reference};

/// Annotation: the source's `host/repository:tag`.
pub const SOURCE_REFERENCE: &str = "io.accel.source.reference";
/// Annotation: the digest of the source's manifest or index.
pub const SOURCE_DIGEST: &str = "io.accel.source.digest";
/// Annotation: the rule hash.
pub const RULE: &str = "io.accel.rule";
/// Annotation: format and version, like `estargz/1`.
pub const FORMAT: &str = "io.accel.format";

/// Annotation of a layer's descriptor: format, version and the hash of the options it was made with.
pub const LAYER: &str = "io.accel.layer";

/// Annotations that acceld's results carry.
const ACCELD: [&str; 2] =
    ["containerd.io/snapshot/nydus-source-digest", "io.goharbor.artifact.v1alpha1.acceleration.source.digest"];

/// What a converted image says of its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The source, with its tag if it had one.
    pub source: String,
    /// The source's digest.
    pub source_digest: Digest,
    /// The hash of the rule's output.
    pub rule_hash: Digest,
    /// Format and version.
    pub format: String,
}

impl Marker {
    /// Reads the marker of a manifest or index; `None` if any part is missing.
    #[must_use]
    pub fn read(annotations: &Annotations) -> Option<Self> {
        Some(Self {
            source: annotations.get(SOURCE_REFERENCE)?.clone(),
            source_digest: annotations.get(SOURCE_DIGEST)?.parse().ok()?,
            rule_hash: annotations.get(RULE)?.parse().ok()?,
            format: annotations.get(FORMAT)?.clone(),
        })
    }

    /// Writes the marker into `annotations`.
    pub fn write(&self, annotations: &mut Annotations) {
        let pairs = [
            (SOURCE_REFERENCE, self.source.clone()),
            (SOURCE_DIGEST, self.source_digest.to_string()),
            (RULE, self.rule_hash.to_string()),
            (FORMAT, self.format.clone()),
        ];
        annotations.extend(pairs.map(|(key, value)| (key.to_owned(), value)));
    }

    /// Whether this marks a result made of the same source repository and tag.
    #[must_use]
    pub fn is_of(&self, source: &Reference) -> bool {
        self.source == source_name(source)
    }
}

/// How a marker writes its source: without the digest, which has an annotation of its own.
#[must_use]
pub fn source_name(source: &Reference) -> String {
    match source.tag() {
        Some(tag) => format!("{}:{tag}", source.repository_name()),
        None => source.repository_name(),
    }
}

/// Whether acceld, or Harbor's integration of it, made this.
#[must_use]
pub fn is_acceld(annotations: &Annotations) -> bool {
    ACCELD.iter().any(|key| annotations.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let source: Reference = "h.example/p/r:1".parse().unwrap();
        let marker = Marker {
            source: source_name(&source),
            source_digest: Digest::of(b"s"),
            rule_hash: Digest::of(b"r"),
            format: "estargz/1".into(),
        };
        let mut annotations = Annotations::from([("kept".to_owned(), "yes".to_owned())]);
        marker.write(&mut annotations);
        assert_eq!(Marker::read(&annotations), Some(marker.clone()));
        assert!(marker.is_of(&source) && !marker.is_of(&source.with_tag("2").unwrap()));
        annotations.remove(RULE);
        assert_eq!(Marker::read(&annotations), None);
    }
}
