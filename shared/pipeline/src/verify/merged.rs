//! A merged index, taken apart: its plain images are compared with what the source's make, and its Nydus images are left,
//! as if they stood alone. Pure.

use std::collections::BTreeSet;

use accel_image::{Descriptor, Document, media_type};

use super::documents::{name_of, same_platform as is_for};
use super::report::VerifyReport;
use crate::assemble::ARTIFACT_TYPE;
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
        stand_alone(image, report);
    }
    target.images = made;
    (target, true)
}

/// The plain images are the source's with an empty layer below, and of each platform there are as many as Nydus images.
fn compare_plain(source: &Source, made: &[SourceImage], plain: &[SourceImage], report: &mut VerifyReport) {
    let expect = |other| merged::plain_entry(other, &merged::plain(other).manifest.descriptor);
    let mut expected: Vec<Descriptor> = source.images.iter().map(expect).collect();
    for image in plain {
        match expected.iter().position(|expected| image.entry.as_ref() == Some(expected)) {
            Some(at) => drop(expected.swap_remove(at)),
            None => {
                let name = name_of(image);
                report.differs(format!("{name}: the plain image is not the source's with an empty layer below"));
            }
        }
    }
    let unequal = |image: &SourceImage| {
        let of_it = |images: &[SourceImage]| images.iter().filter(|other| is_for(other, image)).count();
        let (plain, made) = (of_it(plain), of_it(made));
        let images = if plain == 1 { "image" } else { "images" };
        (plain != made)
            .then(|| format!("{}: the index has {plain} plain {images} beside {made} of Nydus", name_of(image)))
    };
    let unequal: BTreeSet<String> = made.iter().chain(plain).filter_map(unequal).collect();
    unequal.into_iter().for_each(|what| report.differs(what));
}

/// Takes what marks an image in a merged index away.
fn stand_alone(image: &mut SourceImage, report: &mut VerifyReport) {
    let name = name_of(image);
    if image.manifest.config.media_type == media_type::NYDUS_CONFIG {
        media_type::OCI_CONFIG.clone_into(&mut image.manifest.config.media_type);
    } else {
        report.differs(format!("{name}: a node without Nydus would take the Nydus image of the index for its own"));
    }
    let said = image.entry.as_mut().and_then(|entry| entry.other.shift_remove(ARTIFACT_TYPE));
    if said.is_none_or(|kind| kind != media_type::NYDUS_MANIFEST) {
        report.differs(format!("{name}: the index does not say that this is the Nydus image"));
    }
}
