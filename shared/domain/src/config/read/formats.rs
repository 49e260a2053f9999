//! The options of each format.

use crate::config::walk::{FromYaml, Item, Section};
use crate::{EstargzOptions, NydusCompressor, NydusOptions};

pub(super) fn estargz(section: &mut Section<'_>) -> EstargzOptions {
    let default = EstargzOptions::default();
    let options = EstargzOptions {
        level: section.or("level", default.level),
        chunk_size: section.or("chunk_size", default.chunk_size),
        min_chunk_size: section.or("min_chunk_size", default.min_chunk_size),
        prefetch: section.or("prefetch", default.prefetch.clone()),
    };
    // One option at a time first: the check of all of them together stops at the first fault.
    let alone = [
        EstargzOptions { level: options.level, ..default.clone() },
        EstargzOptions { chunk_size: options.chunk_size, ..default.clone() },
        EstargzOptions { prefetch: options.prefetch.clone(), ..default },
        options.clone(),
    ];
    for (key, reason) in alone.iter().filter_map(|options| options.check().err()) {
        section.say(key, reason);
    }
    options
}

/// Options of Nydus elsewhere that have no place here, and why.
const NO_NYDUS_OPTIONS: [(&str, &str); 6] = [
    ("chunk_dict", "is `chunk_dictionary` here, with the reference alone"),
    ("chunk_dict_ref", "is `chunk_dictionary` here, with the reference alone"),
    ("backend_type", "cannot be: Accel pushes to registries only"),
    ("backend_config", "cannot be: Accel pushes to registries only"),
    ("encrypt", "cannot be: Accel does not encrypt images"),
    ("encrypt_recipients", "cannot be: Accel does not encrypt images"),
];

pub(super) fn nydus(section: &mut Section<'_>) -> NydusOptions {
    let default = NydusOptions::default();
    let options = NydusOptions {
        fs_version: section.or("fs_version", default.fs_version),
        compressor: section.or("compressor", default.compressor),
        chunk_size: section.or("chunk_size", default.chunk_size),
        batch_size: section.or("batch_size", default.batch_size),
        prefetch: section.or("prefetch", default.prefetch.clone()),
        merge_manifest: section.or("merge_manifest", default.merge_manifest),
        chunk_dictionary: section.get("chunk_dictionary"),
        oci_ref: section.or("oci_ref", default.oci_ref),
    };
    NO_NYDUS_OPTIONS.iter().for_each(|(key, reason)| section.refuse(key, reason));
    // One option at a time first: the check of all of them together stops at the first fault.
    let alone = [
        NydusOptions { oci_ref: options.oci_ref, fs_version: options.fs_version, ..default.clone() },
        NydusOptions { oci_ref: options.oci_ref, compressor: options.compressor, ..default.clone() },
        NydusOptions { chunk_size: options.chunk_size, ..default.clone() },
        NydusOptions { prefetch: options.prefetch.clone(), ..default },
        options.clone(),
    ];
    for (key, reason) in alone.iter().filter_map(|options| options.check().err()) {
        section.say(key, reason);
    }
    options
}

impl FromYaml for NydusCompressor {
    fn from_yaml(item: Item<'_>) -> Option<Self> {
        item.choice(&Self::ALL)
    }
}
