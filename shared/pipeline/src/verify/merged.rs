//! A merged index, taken apart: its plain images are compared with what the source's make, and its Nydus images are left,
//! as if they stood alone. Pure.

use accel_image::{Document, media_type};

use super::documents::{name_of, same_platform as is_for};
use super::report::VerifyReport;
use crate::nydus::{self, merged};
use crate::source::{Source, SourceImage};

/// What is left of `target`, and whether it was a merged index.
pub(super) fn take_apart(source: &Source, mut target: Source, report: &mut VerifyReport) -> (Source, bool) {
    let is_made = |image: &SourceImage| image.manifest.config.media_type == media_type::NYDUS_CONFIG;
    let is_index = matches!(target.top.document, Document::Index(_));
    if !is_index || !target.images.iter().any(is_made) {
        return (target, false);
    }
    if !target.images.iter().is_sorted_by_key(|image| nydus::is_image(&image.manifest)) {
        report.differs("the index lists a Nydus image before a plain one");
    }
    let (mut made, plain): (Vec<_>, Vec<_>) =
        target.images.into_iter().partition(|image| nydus::is_image(&image.manifest));
    compare_plain(source, &made, &plain, report);
    for image in &mut made {
        stand_alone(image, matches!(source.top.document, Document::Manifest(_)), report);
    }
    target.images = made;
    (target, true)
}

/// Every Nydus image has to have a plain one beside it, which is the source's with an empty layer below.
fn compare_plain(source: &Source, made: &[SourceImage], plain: &[SourceImage], report: &mut VerifyReport) {
    for image in plain {
        let of_same = |other: &&SourceImage| other.entry.is_none() || is_for(other, image);
        let expected = source.images.iter().find(of_same).map(|other| {
            let digest = merged::plain(other).manifest.descriptor;
            merged::plain_entry(other, &digest)
        });
        if expected.is_none() || image.entry != expected {
            let name = name_of(image);
            report.differs(format!("{name}: the plain image is not the source's with an empty layer below"));
        }
    }
    for image in made.iter().filter(|image| !plain.iter().any(|plain| is_for(plain, image))) {
        report.differs(format!("{}: the index has no plain image beside the Nydus image", name_of(image)));
    }
}

/// Takes what marks an image in a merged index away.
fn stand_alone(image: &mut SourceImage, is_alone: bool, report: &mut VerifyReport) {
    let (name, platform) = (name_of(image), image.config.platform());
    if image.manifest.config.media_type == media_type::NYDUS_CONFIG {
        media_type::OCI_CONFIG.clone_into(&mut image.manifest.config.media_type);
    } else {
        report.differs(format!("{name}: a node without Nydus would take the Nydus image of the index for its own"));
    }
    let Some(entry) = &mut image.entry else { return };
    if entry.other.shift_remove(merged::ARTIFACT_TYPE).is_none_or(|kind| kind != media_type::NYDUS_MANIFEST) {
        report.differs(format!("{name}: the index does not say that this is the Nydus image"));
    }
    // Otherwise the entry is compared with the source's.
    if is_alone {
        if entry.platform.as_ref() != Some(&platform) {
            report.differs(format!("{name}: the index has the Nydus image for another platform than {platform}"));
        }
        image.entry = None;
    }
}
