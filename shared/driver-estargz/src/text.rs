//! TOC entries as JSON text. Spec: eStargz, "TOC"; order of members as the reference writes them, compact.
//!
//! Where a file's chunks lie is known only after compression: the text of a file stays open until then.

use std::collections::HashMap;
use std::fmt::Write as _;

use accel_driver::DriverError;
use accel_image::Digest;
use accel_stream::{Entry, EntryKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// User and group names are remembered for so many ids, so that a hostile layer cannot make this large.
const NAMES_REMEMBERED: usize = 4096;

/// Writes the texts of one layer's entries, in the order of the TOC.
#[derive(Default)]
pub(crate) struct Texts {
    users: Names,
    groups: Names,
}

/// The name that each id had when it was last written.
#[derive(Default)]
struct Names(HashMap<u64, Vec<u8>>);

impl Names {
    /// `name` if a reader does not know it for `id` already.
    fn if_new<'n>(&mut self, id: u64, name: &'n [u8]) -> Option<&'n [u8]> {
        if name.is_empty() || self.0.get(&id).is_some_and(|known| known == name) {
            return None;
        }
        if self.0.len() < NAMES_REMEMBERED || self.0.contains_key(&id) {
            self.0.insert(id, name.to_owned());
        }
        Some(name)
    }
}

impl Texts {
    /// The text of `entry` without its closing brace, and without what depends on its chunks.
    ///
    /// # Errors
    /// [`DriverError::Unrepresentable`] for what JSON or the TOC cannot hold.
    pub(crate) fn open(&mut self, entry: &Entry) -> Result<String, DriverError> {
        let fail = |reason| DriverError::unrepresentable(&entry.path, reason);
        let utf8 = |bytes, reason| std::str::from_utf8(bytes).map_err(|_| fail(reason));
        let mut text = String::with_capacity(256);
        text.push_str("{\"name\":");
        push_string(&mut text, utf8(&entry.path, "its name is not UTF-8")?);
        push(
            &mut text,
            "type",
            format_args!("\"{}\"", type_of(entry.kind).ok_or_else(|| fail("its kind has no place in a TOC"))?),
        );
        if entry.kind == EntryKind::Regular {
            push_number(&mut text, "size", entry.size);
        }
        let mtime = i32::try_from(entry.mtime.nanos)
            .ok()
            .and_then(|nanos| jiff::Timestamp::new(entry.mtime.seconds, nanos).ok());
        let mtime = mtime.filter(|at| (YEAR_0..=YEAR_9999).contains(&at.as_second()));
        push(
            &mut text,
            "modtime",
            format_args!("\"{}\"", mtime.ok_or_else(|| fail("its modification time is not in the years 0 to 9999"))?),
        );
        if matches!(entry.kind, EntryKind::Symlink | EntryKind::HardLink) {
            text.push_str(",\"linkName\":");
            push_string(&mut text, utf8(&entry.link, "the target of the link is not UTF-8")?);
        }
        push_number(&mut text, "mode", u64::from(entry.mode));
        push_number(&mut text, "uid", entry.uid);
        push_number(&mut text, "gid", entry.gid);
        for (key, name) in [
            ("userName", self.users.if_new(entry.uid, &entry.user)),
            ("groupName", self.groups.if_new(entry.gid, &entry.group)),
        ] {
            if let Some(name) = name {
                text.push_str(&format!(",\"{key}\":"));
                push_string(&mut text, utf8(name, "its user or group name is not UTF-8")?);
            }
        }
        if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            push_number(&mut text, "devMajor", u64::from(entry.dev_major));
            push_number(&mut text, "devMinor", u64::from(entry.dev_minor));
        }
        push_xattrs(&mut text, entry).map_err(|_| fail("the name of an extended attribute is not UTF-8"))?;
        Ok(text)
    }
}

const YEAR_0: i64 = -62_167_219_200;
const YEAR_9999: i64 = 253_402_300_799;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Where its member begins in the blob.
    pub(crate) offset: u64,
    /// Where it begins in what the member decompresses to.
    pub(crate) inner: usize,
    /// The digest of its bytes.
    pub(crate) digest: Digest,
}

/// Closes the text of a file: `digest` is the file's; `full_chunk` is set if its first chunk is one of several, or as
/// long as chunks can be.
pub(crate) fn close_file(text: &mut String, place: Option<Place>, digest: Digest, full_chunk: Option<usize>) {
    push(text, "digest", format_args!("\"{digest}\""));
    if let Some(place) = place {
        push_place(text, place, full_chunk);
    }
    text.push('}');
}

/// The text of a later chunk of the file whose quoted name is `name`.
pub(crate) fn chunk(name: &str, place: Place, chunk_offset: u64, full_chunk: Option<usize>) -> String {
    let mut text = format!("{{\"name\":{name},\"type\":\"chunk\",\"chunkOffset\":{chunk_offset}");
    push_place(&mut text, place, full_chunk);
    text.push('}');
    text
}

/// The name in an open text, still quoted.
pub(crate) fn quoted_name(text: &str) -> &str {
    let from = "{\"name\":".len();
    text.find(",\"type\":").map_or("\"\"", |to| &text[from..to])
}

fn push_place(text: &mut String, place: Place, full_chunk: Option<usize>) {
    push_number(text, "offset", place.offset);
    push_number(text, "innerOffset", place.inner as u64);
    push_number(text, "chunkSize", full_chunk.unwrap_or(0) as u64);
    push(text, "chunkDigest", format_args!("\"{}\"", place.digest));
}

const fn type_of(kind: EntryKind) -> Option<&'static str> {
    match kind {
        EntryKind::Regular => Some("reg"),
        EntryKind::Directory => Some("dir"),
        EntryKind::Symlink => Some("symlink"),
        EntryKind::HardLink => Some("hardlink"),
        EntryKind::CharDevice => Some("char"),
        EntryKind::BlockDevice => Some("block"),
        EntryKind::Fifo => Some("fifo"),
        EntryKind::GlobalHeader | EntryKind::Sparse | EntryKind::Unsupported(_) => None,
    }
}

fn push_xattrs(text: &mut String, entry: &Entry) -> Result<(), std::str::Utf8Error> {
    let mut separator = ",\"xattrs\":{";
    for (name, value) in &entry.xattrs {
        text.push_str(separator);
        separator = ",";
        push_string(text, std::str::from_utf8(name)?);
        text.push_str(":\"");
        STANDARD.encode_string(value, text);
        text.push('"');
    }
    if !entry.xattrs.is_empty() {
        text.push('}');
    }
    Ok(())
}

/// A number, unless it is 0: readers take a missing member for 0.
fn push_number(text: &mut String, key: &str, number: u64) {
    if number != 0 {
        push(text, key, format_args!("{number}"));
    }
}

fn push(text: &mut String, key: &str, value: std::fmt::Arguments<'_>) {
    write!(text, ",\"{key}\":{value}").expect("a String takes every text");
}

fn push_string(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).expect("a string is always JSON"));
}
