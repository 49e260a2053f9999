//! `index.json`: which manifest stands under which tag. Pure. Spec: OCI image, "Image Layout".

use accel_image::{Annotations, Descriptor, Digest, Index, media_type};
use serde_json::Map;

/// The annotation that holds a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An index without manifests.
pub(super) fn empty() -> Index {
    Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests: Vec::new(),
        subject: None,
        annotations: Annotations::new(),
        other: Map::new(),
    }
}

fn tag(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.get(REF_NAME).map(String::as_str)
}

/// What stands under a tag. A layout with one manifest and no tags at all has it under `latest`.
pub(super) fn find<'a>(index: &'a Index, wanted: &str) -> Option<&'a Descriptor> {
    let named = index.manifests.iter().find(|descriptor| tag(descriptor) == Some(wanted));
    let only = match index.manifests.as_slice() {
        [only] if wanted == "latest" && tag(only).is_none() => Some(only),
        _ => None,
    };
    named.or(only)
}

/// Moves a tag.
pub(super) fn set(index: &mut Index, name: &str, mut descriptor: Descriptor) {
    index.manifests.retain(|listed| tag(listed) != Some(name));
    descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    index.manifests.push(descriptor);
}

/// Takes a manifest out with all its tags.
pub(super) fn remove(index: &mut Index, digest: Digest) {
    index.manifests.retain(|listed| listed.digest != digest);
}

/// The tags that are there, for a message.
pub(super) fn known_tags(index: &Index) -> String {
    let tags: Vec<_> = index.manifests.iter().filter_map(tag).take(10).collect();
    if tags.is_empty() { "no tags".to_owned() } else { tags.join(", ").escape_debug().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_moves_and_leaves_the_others() {
        let descriptor = |bytes: &[u8]| Descriptor::of(media_type::OCI_MANIFEST, bytes);
        let mut index = empty();
        set(&mut index, "a", descriptor(b"1"));
        set(&mut index, "b", descriptor(b"1"));
        set(&mut index, "a", descriptor(b"2"));
        let found = |index: &Index, tag: &str| find(index, tag).map(|descriptor| descriptor.digest);
        assert_eq!(found(&index, "a"), Some(Digest::of(b"2")));
        assert_eq!(found(&index, "b"), Some(Digest::of(b"1")));
        assert_eq!(found(&index, "latest"), None);
        assert_eq!(known_tags(&index), "b, a");
        remove(&mut index, Digest::of(b"1"));
        assert_eq!((found(&index, "b"), index.manifests.len()), (None, 1));
    }

    #[test]
    fn a_single_manifest_without_a_tag_is_the_latest() {
        let mut index = empty();
        index.manifests.push(Descriptor::of(media_type::OCI_MANIFEST, b"1"));
        assert!(find(&index, "latest").is_some() && find(&index, "1").is_none());
        index.manifests.push(Descriptor::of(media_type::OCI_MANIFEST, b"2"));
        assert!(find(&index, "latest").is_none());
    }
}
