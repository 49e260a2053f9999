//! A layout in one tar file: read by offsets after one scan of its headers, written anew from a directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use accel_image::Digest;
use tar::{Archive, Builder, EntryType, Header};

use super::error::LayoutError;
use super::store::{BLOBS, INDEX_FILE, Part, VERSION_FILE, persist, temporary};

/// More entries than any honest layout has.
const MAX_ENTRIES: usize = 100_000;

/// What a tar file holds.
pub(super) struct Contents {
    pub(super) blobs: HashMap<Digest, Part>,
    /// `oci-layout` and `index.json`.
    pub(super) files: HashMap<&'static str, Part>,
}

/// Reads the headers; bodies are passed over.
pub(super) fn scan(path: &Path) -> Result<Contents, LayoutError> {
    let bad = |reason: String| LayoutError::NotALayout { path: path.to_owned(), reason };
    let file = File::open(path).map_err(LayoutError::io(path, "opening it"))?;
    let length = file.metadata().map_err(LayoutError::io(path, "opening it"))?.len();
    let mut contents = Contents { blobs: HashMap::new(), files: HashMap::new() };
    let mut archive = Archive::new(BufReader::new(file));
    let entries = archive.entries_with_seek().map_err(|error| bad(error.to_string()))?;
    for (count, entry) in entries.enumerate() {
        let entry = entry.map_err(|error| bad(format!("it cannot be read as a tar file: {error}")))?;
        if count >= MAX_ENTRIES {
            return Err(bad(format!("it has more than {MAX_ENTRIES} entries")));
        }
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let part = Part { offset: entry.raw_file_position(), size: entry.size() };
        if part.offset.checked_add(part.size).is_none_or(|end| end > length) {
            return Err(bad("it is cut off".to_owned()));
        }
        contents.note(&String::from_utf8_lossy(&entry.path_bytes()), part);
    }
    Ok(contents)
}

impl Contents {
    fn note(&mut self, name: &str, part: Part) {
        let name = name.strip_prefix("./").unwrap_or(name);
        let hex = name.strip_prefix(BLOBS).and_then(|rest| rest.strip_prefix('/'));
        if let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
            self.blobs.insert(digest, part);
        } else if let Some(known) = [VERSION_FILE, INDEX_FILE].into_iter().find(|known| *known == name) {
            self.files.insert(known, part);
        }
    }
}

/// Writes the layout in `directory` as a tar file, which appears under `path` when it is whole. The same layout gives
/// the same bytes.
pub(super) fn write(directory: &Path, path: &Path) -> Result<(), LayoutError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = temporary(parent)?;
    let mut builder = Builder::new(BufWriter::new(file.as_file_mut()));
    let blobs = directory.join(BLOBS);
    let listed = blobs.read_dir().map_err(LayoutError::io(&blobs, "listing it"))?;
    let listed = listed.map(|entry| entry.map(|entry| format!("{BLOBS}/{}", entry.file_name().to_string_lossy())));
    let mut names = listed.collect::<Result<Vec<_>, _>>().map_err(LayoutError::io(&blobs, "listing it"))?;
    names.sort();
    for name in [VERSION_FILE, INDEX_FILE].into_iter().chain(names.iter().map(String::as_str)) {
        append(&mut builder, directory, name).map_err(LayoutError::io(path, "writing it"))?;
    }
    let finished = builder.into_inner().and_then(|mut out| out.flush());
    finished.map_err(LayoutError::io(path, "writing it"))?;
    persist(file, path)
}

fn append(builder: &mut Builder<impl Write>, directory: &Path, name: &str) -> std::io::Result<()> {
    let file = File::open(directory.join(name))?;
    let mut header = Header::new_gnu();
    header.set_size(file.metadata()?.len());
    header.set_mode(0o644);
    header.set_mtime(0);
    builder.append_data(&mut header, name, file)
}
