//! What becomes of each option of acceld's nydus driver: taken over, left out with a note, or, where the result would be
//! another thing, a reason to leave the rule to a person.

use accel_image::Reference;

use super::OurRegistry;
use super::leaves::Leaves;
use super::write::quoted;
use crate::{ByteSize, NydusCompressor, NydusOptions};

/// Options in use that make another kind of image than Accel's, and what to do instead.
const OTHER_IMAGES: [(&str, &str); 1] = [(
    "encrypt_recipients",
    "Accel does not encrypt images: keep acceld for these, or uncomment the rule for images that are not encrypted",
)];

/// Options in use without which the image is the same, only larger or arranged otherwise.
const WITHOUT: [(&str, &str); 1] = [("fs_align_chunk", "left out: Accel always aligns chunks")];

/// The options of the rule's entry, and whether it can be in force.
pub(super) fn entry(
    leaves: &mut Leaves,
    notes: &mut Vec<String>,
    registries: &[OurRegistry],
) -> (Vec<(&'static str, String)>, bool) {
    let mut options = Vec::new();
    let mut in_force = true;
    let oci_ref = take(leaves, "oci_ref").is_some_and(|value| !is_false(&value));
    // With `oci_ref` acceld looks at neither version nor compressor.
    let version = version(leaves, notes).filter(|_| !oci_ref);
    let fs_version = if version.is_some() { 5 } else { 6 };
    options.extend(version.map(|value| ("fs_version", value)));
    for (key, instead) in OTHER_IMAGES {
        in_force &= !noted(leaves, notes, key, instead);
    }
    in_force &= !has_backend(leaves, notes);
    for (key, what) in WITHOUT {
        noted(leaves, notes, key, what);
    }
    options.extend(compressor(leaves, notes).filter(|_| !oci_ref).map(|value| ("compressor", value)));
    let chunk_size = chunk_size(leaves, notes);
    options.extend(chunk_size.map(|size| ("chunk_size", size.to_string())));
    let chunk_size = chunk_size.unwrap_or(NydusOptions::default().chunk_size);
    let sizes = NydusOptions { fs_version, chunk_size, oci_ref, ..NydusOptions::default() };
    let batch_size = batch_size(leaves, notes, sizes);
    let cannot = match (fs_version, batch_size) {
        _ if oci_ref => Some("images that refer to their original layers cannot refer to other images"),
        (6, None) => None,
        (6, Some(_)) => Some("images with batches cannot refer to other images here"),
        _ => Some("images of RAFS v5 cannot refer to other images here"),
    };
    options.extend(batch_size.map(|size| ("batch_size", size.to_string())));
    options.extend(prefetch(leaves, notes).map(|value| ("prefetch", value)));
    let is_merged = take(leaves, "merge_manifest").is_some_and(|value| !is_false(&value));
    options.extend(is_merged.then(|| ("merge_manifest", "true".to_owned())));
    options.extend(dictionary(leaves, notes, registries, cannot).map(|value| ("chunk_dictionary", value)));
    options.extend(oci_ref.then(|| ("oci_ref", "true".to_owned())));
    options.extend(subject(leaves, notes).map(|value| ("subject", value)));
    (options, in_force)
}

fn path(key: &str) -> String {
    format!("converter.driver.config.{key}")
}

/// The value of an option that says something.
fn take(leaves: &mut Leaves, key: &str) -> Option<String> {
    leaves.take(&path(key)).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The value under the name of today, or that of earlier versions.
fn take_either(leaves: &mut Leaves, key: &'static str, before: &'static str) -> Option<(&'static str, String)> {
    let (now, then) = (take(leaves, key), take(leaves, before));
    now.map(|value| (key, value)).or_else(|| then.map(|value| (before, value)))
}

/// Notes `what` of an option that is in use.
fn noted(leaves: &mut Leaves, notes: &mut Vec<String>, key: &str, what: &str) -> bool {
    let in_use = take(leaves, key).is_some_and(|value| !is_false(&value) && number(&value) != Some(0));
    if in_use {
        notes.push(format!("{}: {what}", path(key)));
    }
    in_use
}

/// As acceld reads it.
fn is_false(value: &str) -> bool {
    ["0", "f", "F", "FALSE", "false", "False"].contains(&value)
}

/// acceld's default is ours.
fn version(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<String> {
    let (key, version) = take_either(leaves, "fs_version", "rafs_version")?;
    match version.as_str() {
        "5" => Some(version),
        "6" => None,
        _ => {
            notes.push(format!("{}: `{version}` is no version of RAFS: 6, the default, is taken", path(key)));
            None
        }
    }
}

/// The image, where it is one of a registry that is taken over; `cannot` says why no image can be referred to.
fn dictionary(
    leaves: &mut Leaves,
    notes: &mut Vec<String>,
    registries: &[OurRegistry],
    cannot: Option<&str>,
) -> Option<String> {
    let value = take(leaves, "chunk_dict_ref")?;
    let name = value.strip_prefix("bootstrap:registry:").unwrap_or(&value);
    let image = name.parse::<Reference>().map_err(|error| format!("left out: {error}")).and_then(|image| {
        match (cannot, registries.iter().any(|registry| registry.host.host == image.host())) {
            (Some(cannot), _) => Err(format!("left out: {cannot}")),
            (None, false) => Err(format!(
                "left out: its registry, {}, is none of `provider.source`: add it under `registries`, and the image as \
                 `chunk_dictionary` to the rule's entry",
                image.host()
            )),
            (None, true) => Ok(image),
        }
    });
    let note = match &image {
        Ok(image) => format!(
            "became `chunk_dictionary`, which has to be an image of Accel's own: convert the one that {image} was made \
             of once more, without a dictionary, before anything is converted with it"
        ),
        Err(reason) => reason.clone(),
    };
    notes.push(format!("{}: {note}", path("chunk_dict_ref")));
    image.ok().map(quoted)
}

fn has_backend(leaves: &mut Leaves, notes: &mut Vec<String>) -> bool {
    let kind = take(leaves, "backend_type");
    for key in ["backend_config", "backend_force_push"] {
        leaves.take(&path(key));
    }
    if kind.is_some() {
        notes.push(format!(
            "{}: Accel pushes to registries only, and takes nothing over of `backend_config`: uncomment the rule for \
             images whose layers lie in the registry",
            path("backend_type")
        ));
    }
    kind.is_some()
}

fn compressor(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<String> {
    let (key, name) = take_either(leaves, "compressor", "rafs_compressor")?;
    match name.parse::<NydusCompressor>() {
        Ok(NydusCompressor::Zstd) => None,
        Ok(compressor) => Some(compressor.name().to_owned()),
        Err(error) => {
            notes.push(format!("{}: {error}; it is zstd now", path(key)));
            None
        }
    }
}

fn chunk_size(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<ByteSize> {
    let value = take(leaves, "fs_chunk_size")?;
    let default = NydusOptions::default();
    let Some(bytes) = number(&value) else {
        notes.push(format!("{}: is not a number; it is {} now", path("fs_chunk_size"), default.chunk_size));
        return None;
    };
    let options = NydusOptions { chunk_size: ByteSize(bytes), ..default.clone() };
    match options.check() {
        Err((_, reason)) => {
            notes.push(format!("{}: {reason}; it is {} now", path("fs_chunk_size"), default.chunk_size));
            None
        }
        Ok(()) => (options != default).then_some(options.chunk_size),
    }
}

/// `options` are those that it goes with.
fn batch_size(leaves: &mut Leaves, notes: &mut Vec<String>, options: NydusOptions) -> Option<ByteSize> {
    let value = take(leaves, "batch_size")?;
    let Some(bytes) = number(&value) else {
        notes.push(format!("{}: is not a number; there are no batches now", path("batch_size")));
        return None;
    };
    let batch_size = ByteSize(bytes);
    match (NydusOptions { batch_size, ..options }).check() {
        Err((_, reason)) => {
            notes.push(format!("{}: {reason}; there are no batches now", path("batch_size")));
            None
        }
        Ok(()) => (bytes > 0).then_some(batch_size),
    }
}

/// Decimal, or hexadecimal after `0x`.
fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

fn prefetch(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<String> {
    let value = take(leaves, "prefetch_patterns")?;
    let default = NydusOptions::default();
    let mut options = NydusOptions { prefetch: Vec::new(), ..default.clone() };
    for pattern in value.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let alone = NydusOptions { prefetch: vec![pattern.to_owned()], ..default.clone() };
        match alone.check() {
            Ok(()) => options.prefetch.extend(alone.prefetch),
            Err((_, reason)) => notes.push(format!("{}: {reason}; left out", path("prefetch_patterns"))),
        }
    }
    let patterns: Vec<String> = options.prefetch.iter().map(quoted).collect();
    (options != default).then(|| format!("[{}]", patterns.join(", ")))
}

fn subject(leaves: &mut Leaves, notes: &mut Vec<String>) -> Option<String> {
    let wanted = take(leaves, "with_referrer").is_some_and(|value| !is_false(&value));
    if !wanted {
        notes.push(format!(
            "{}: is not set, so `subject: false` was written. Without that line, as Accel does by default, the result \
             refers to its source: Harbor shows it as an accessory, does not scan it, and deletes it with its source",
            path("with_referrer")
        ));
    }
    (!wanted).then(|| "false".to_owned())
}
