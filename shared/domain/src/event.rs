//! Events: what a registry says has happened, in our words. Payload formats are the webhook's business.

use accel_image::{Digest, Reference};

/// What has happened to the resources of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A manifest was put.
    Push,
    /// An artifact was deleted.
    Delete,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What has happened.
    pub kind: EventKind,
    /// Who did it, as the registry names them.
    pub operator: Option<String>,
    /// What tells this delivery from others of the same resources: the event's id, or its time. `None` where the
    /// sender gives neither.
    pub delivery: Option<String>,
    /// To what it has happened.
    pub resources: Vec<Resource>,
}

/// One image that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The resource as the event wrote it.
    pub written: String,
    /// Host, repository and tag. The host is a name to look up, never an address.
    pub reference: Reference,
    /// The manifest's digest, if the event says it.
    pub digest: Option<Digest>,
}

impl Resource {
    /// Whether the manifest was put by its digest alone: a child of an index, an attestation, a signature.
    #[must_use]
    pub fn is_digest_only(&self) -> bool {
        self.reference.tag().is_none()
    }

    /// Whether the tag is one that tools write beside an image: cosign's, or the referrers fallback.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        let Some(rest) = self.reference.tag().and_then(|tag| tag.strip_prefix("sha256-")) else { return false };
        let (hex, suffix) = rest.split_at_checked(64).unwrap_or((rest, ""));
        hex.len() == 64
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
            && matches!(suffix, "" | ".sig" | ".att" | ".sbom")
    }

    /// What tells one delivery of this resource from another.
    #[must_use]
    pub fn delivery_key(&self, kind: EventKind, delivery: Option<&str>) -> Option<String> {
        let digest = self.digest.map(|d| d.to_string()).unwrap_or_default();
        delivery.map(|delivery| format!("{kind:?} {} {digest} {delivery}", self.reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_tags_that_tools_attach() {
        let hex = "ab".repeat(32);
        let rows = [
            (format!("h.example/r:sha256-{hex}"), true),
            (format!("h.example/r:sha256-{hex}.sig"), true),
            (format!("h.example/r:sha256-{hex}.other"), false),
            ("h.example/r:sha256-1".to_owned(), false),
            ("h.example/r:1".to_owned(), false),
        ];
        for (text, expected) in rows {
            let resource = Resource { written: text.clone(), reference: text.parse().unwrap(), digest: None };
            assert_eq!(resource.is_attached(), expected, "{text}");
        }
    }
}
