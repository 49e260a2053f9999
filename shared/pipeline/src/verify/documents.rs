//! Indexes, manifests and configurations of both sides, compared; and the pairs of layers that are left. Pure.

use std::collections::HashSet;

use accel_domain::{Marker, marker};
use accel_image::{Annotations, Descriptor, Digest, Document, media_type};

use super::VerifyOptions;
use super::nydus::Whole;
use super::report::VerifyReport;
use crate::source::{Source, SourceImage};
use crate::{assemble, nydus};

/// A layer of the source and what stands in its place in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// For messages: `linux/amd64, layer 2`.
    pub(super) name: String,
    pub(super) source: Descriptor,
    pub(super) source_diff_id: Digest,
    pub(super) target: Descriptor,
    pub(super) target_diff_id: Digest,
}

/// What is left to compare: distinct pairs of layers, and images that have to be compared as wholes.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) pairs: Vec<Pair>,
    pub(super) wholes: Vec<Whole>,
}

/// Notes what differs, and returns what is left to compare.
pub(super) fn compare(
    source: &Source,
    target: &Source,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) -> Compared {
    let mut compared = Compared::default();
    let mut seen = HashSet::new();
    for (source_image, target_image) in pair_images(source, target, options, report) {
        report.platforms.push(name_of(target_image));
        compare_image(source_image, target_image, source.top.digest, report);
        if nydus::is_image(&target_image.manifest) {
            let (name, source, target) = (name_of(target_image), layers_of(source_image), layers_of(target_image));
            compared.wholes.push(Whole { name, source, target });
        } else {
            let found = pair_layers(source_image, target_image);
            compared
                .pairs
                .extend(found.into_iter().filter(|pair| seen.insert((pair.source.digest, pair.target.digest))));
        }
    }
    compare_attestations(target, report);
    compared
}

/// Notes what differs between what stands under the two tags.
pub(super) fn compare_tops(source: &Source, target: &Source, is_merged: bool, report: &mut VerifyReport) {
    let mark = Marker::read(target.top.document.annotations());
    report.marked = mark.is_some();
    if let Some(mark) = mark.filter(|mark| mark.source_digest != source.top.digest) {
        report.differs(format!("the target was made of {}, the source is {}", mark.source_digest, source.top.digest));
    }
    match (&source.top.document, &target.top.document) {
        (Document::Manifest(_), Document::Manifest(_)) => {}
        (Document::Index(source), Document::Index(target)) => {
            if target.media_type != media_type::OCI_INDEX {
                report.differs(format!("the index is of type `{}`", target.media_type));
            }
            if unmarked(&target.annotations) != unmarked(&source.annotations) {
                report.differs("the index has other annotations than the source's");
            }
        }
        (Document::Index(_), Document::Manifest(_)) => report.differs("the source is an index, the target is not"),
        (Document::Manifest(_), Document::Index(index)) if is_merged => {
            if !unmarked(&index.annotations).is_empty() {
                report.differs("the index has annotations that nobody has given it");
            }
        }
        (Document::Manifest(_), Document::Index(_)) => report.differs("the target is an index, the source is not"),
    }
}

/// Pairs images by platform, in the order of the target's.
fn pair_images<'i>(
    source: &'i Source,
    target: &'i Source,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) -> Vec<(&'i SourceImage, &'i SourceImage)> {
    let (mut pairs, mut places) = (Vec::new(), Vec::new());
    for image in &target.images {
        let fits = |(at, other): &(usize, &SourceImage)| same_platform(other, image) && !places.contains(at);
        match source.images.iter().enumerate().find(fits) {
            Some((at, other)) => {
                places.push(at);
                pairs.push((other, image));
            }
            None => report.differs(format!("{}: the source has no such image", name_of(image))),
        }
    }
    if !places.is_sorted() {
        report.differs("the index lists its images in another order than the source's");
    }
    for (_, image) in source.images.iter().enumerate().filter(|(at, _)| !places.contains(at)) {
        report.platforms_left_out.push(name_of(image));
        if !options.platforms.is_empty() {
            report.differs(format!("{}: the target has no such image", name_of(image)));
        }
    }
    pairs
}

/// Whether both are for the same platform. An image that stands in no index is for that of its configuration.
pub(super) fn same_platform(one: &SourceImage, other: &SourceImage) -> bool {
    let said = match (&one.entry, &other.entry) {
        (Some(one), Some(other)) => one.platform == other.platform,
        (_, _) => true,
    };
    said && one.config.platform() == other.config.platform()
}

/// The platform of an image, for messages.
pub(super) fn name_of(image: &SourceImage) -> String {
    let said = image.entry.as_ref().and_then(|entry| entry.platform.clone());
    said.unwrap_or_else(|| image.config.platform()).to_string()
}

fn compare_image(source: &SourceImage, target: &SourceImage, top: Digest, report: &mut VerifyReport) {
    let name = name_of(target);
    let (ours, theirs) = (&target.manifest, &source.manifest);
    let is_nydus = nydus::is_image(ours);
    let mut config = source.config.clone();
    if is_nydus {
        config.add_history(nydus::history());
    }
    config.set_diff_ids(target.config.diff_ids().to_vec());
    let made_of = Marker::read(&ours.annotations).map(|mark| mark.source_digest);
    let is_its_entry = |entry: &Descriptor| *entry == assemble::entry(source, &target.descriptor);
    let said = |annotations: &Annotations| {
        let mut said = unmarked(annotations);
        if is_nydus {
            nydus::without_annotations(&mut said);
        }
        said
    };
    let differs = match is_nydus {
        false => "the configuration differs in more than diff ids",
        true => "the configuration differs in more than diff ids and the history's last entry",
    };
    let rows = [
        ("the manifest is not of OCI's type", ours.media_type == media_type::OCI_MANIFEST),
        ("the configuration is not of OCI's type", ours.config.media_type == media_type::OCI_CONFIG),
        (differs, target.config == config),
        ("the manifest has other annotations than the source's", said(&ours.annotations) == said(&theirs.annotations)),
        ("the manifest has other members than the source's", ours.other == theirs.other),
        (
            "the index's entry has other annotations, another platform or other members than the source makes it",
            target.entry.as_ref().is_none_or(is_its_entry),
        ),
        (
            "an annotation of Nydus's says that its manifest was made of another",
            !is_nydus || nydus::is_made_of(&ours.annotations, source.descriptor.digest),
        ),
        (
            "an annotation of Nydus's names another version of the file system",
            !is_nydus || nydus::has_its_version(ours),
        ),
        ("the manifest says that it was made of another source", made_of.is_none_or(|digest| digest == top)),
        (
            "it has another number of layers than its source makes it",
            match is_nydus {
                true => ours.layers.len() > theirs.layers.len(), // blobs of a chunk dictionary may follow those of layers
                false => ours.layers.len() == theirs.layers.len(),
            },
        ),
    ];
    for (what, _) in rows.iter().filter(|(_, holds)| !holds) {
        report.differs(format!("{name}: {what}"));
    }
}

/// The layers of an image with their diff ids.
fn layers_of(image: &SourceImage) -> Vec<(Descriptor, Digest)> {
    image.manifest.layers.iter().cloned().zip(image.config.diff_ids().iter().copied()).collect()
}

fn pair_layers(source: &SourceImage, target: &SourceImage) -> Vec<Pair> {
    let name = name_of(target);
    let pairs = layers_of(source).into_iter().zip(layers_of(target)).enumerate();
    let pair = |(at, ((source, source_diff_id), (target, target_diff_id)))| Pair {
        name: format!("{name}, layer {}", at + 1),
        source,
        source_diff_id,
        target,
        target_diff_id,
    };
    pairs.map(pair).collect()
}

/// Attestations that were carried have to attest images of the target.
fn compare_attestations(target: &Source, report: &mut VerifyReport) {
    let Document::Index(index) = &target.top.document else { return };
    let digests: HashSet<Digest> = index.manifests.iter().map(|entry| entry.digest).collect();
    for attestation in index.manifests.iter().filter(|entry| entry.is_attestation()) {
        if !attestation.attested().is_some_and(|digest| digests.contains(&digest)) {
            report.differs(format!("attestation {} attests no image of the target", attestation.digest));
        }
    }
}

fn unmarked(annotations: &Annotations) -> Annotations {
    let mut annotations = annotations.clone();
    for key in [marker::SOURCE_REFERENCE, marker::SOURCE_DIGEST, marker::RULE, marker::FORMAT] {
        annotations.remove(key);
    }
    annotations
}
