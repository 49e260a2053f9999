//! Where a layout's bytes lie: in files of a directory, or at offsets of one tar file. Synchronous; what is read is
//! hostile: paths are made from parsed digests only, sizes are checked before they are used.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use accel_image::{Digest, Index, MAX_DOCUMENT_BYTES};
use tempfile::NamedTempFile;

use super::error::LayoutError;
use super::{archive, index};

const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const VERSION_FILE: &str = "oci-layout";
pub(super) const INDEX_FILE: &str = "index.json";
pub(super) const BLOBS: &str = "blobs/sha256";
/// An `oci-layout` file holds one short object.
const MAX_VERSION_BYTES: u64 = 4096;

/// The bytes of a layout.
#[derive(Debug)]
pub(super) enum Store {
    /// A directory.
    Directory(PathBuf),
    /// A tar file, read only.
    Archive {
        /// The tar file.
        path: PathBuf,
        /// Where each blob begins, and its size.
        blobs: HashMap<Digest, Part>,
        /// Its index.
        index: Box<Index>,
    },
}

/// Some bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// An open file, and where the blob lies in it. The file stands at the blob's beginning.
pub(super) struct OpenBlob {
    pub(super) file: File,
    pub(super) part: Part,
}

impl Store {
    /// A directory that has to be a layout.
    pub(super) fn open_directory(path: &Path) -> Result<Self, LayoutError> {
        let version = path.join(VERSION_FILE);
        let file = File::open(&version).map_err(|error| LayoutError::NotALayout {
            path: path.to_owned(),
            reason: format!("its `{VERSION_FILE}` file: {error}"),
        })?;
        check_version(path, &read_bounded(&version, file, MAX_VERSION_BYTES)?)?;
        Ok(Self::Directory(path.to_owned()))
    }

    /// A directory that becomes a layout unless it is one. Any other directory has to be empty.
    pub(super) fn create_directory(path: &Path) -> Result<Self, LayoutError> {
        if path.join(VERSION_FILE).exists() {
            return Self::open_directory(path);
        }
        let blobs = path.join(BLOBS);
        std::fs::create_dir_all(path).map_err(LayoutError::io(path, "making the directory"))?;
        let mut entries = path.read_dir().map_err(LayoutError::io(path, "listing the directory"))?;
        if entries.next().is_some() {
            let reason = format!("it is not empty and has no `{VERSION_FILE}` file");
            return Err(LayoutError::NotALayout { path: path.to_owned(), reason });
        }
        std::fs::create_dir_all(&blobs).map_err(LayoutError::io(&blobs, "making the directory"))?;
        let store = Self::Directory(path.to_owned());
        store.write_index(&index::empty())?;
        replace(path, &path.join(VERSION_FILE), VERSION)?;
        Ok(store)
    }

    pub(super) fn open_archive(path: &Path) -> Result<Self, LayoutError> {
        let contents = archive::scan(path)?;
        let part = |name: &str| contents.files.get(name).copied();
        let missing =
            |name: &str| LayoutError::NotALayout { path: path.to_owned(), reason: format!("it has no `{name}`") };
        let read = |name: &str, limit: u64| {
            let part = part(name).ok_or_else(|| missing(name))?;
            read_bounded(path, open_at(path, part)?.take(part.size), limit)
        };
        check_version(path, &read(VERSION_FILE, MAX_VERSION_BYTES)?)?;
        let index = parse_index(path, &read(INDEX_FILE, MAX_DOCUMENT_BYTES as u64)?)?;
        Ok(Self::Archive { path: path.to_owned(), blobs: contents.blobs, index: Box::new(index) })
    }

    /// The directory, or the tar file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Archive { path, .. } => path,
        }
    }

    pub(super) fn index(&self) -> Result<Index, LayoutError> {
        let path = match self {
            Self::Archive { index, .. } => return Ok(index.as_ref().clone()),
            Self::Directory(path) => path,
        };
        let file = path.join(INDEX_FILE);
        let opened = File::open(&file).map_err(LayoutError::io(&file, "opening it"))?;
        parse_index(path, &read_bounded(&file, opened, MAX_DOCUMENT_BYTES as u64)?)
    }

    pub(super) fn open_blob(&self, digest: Digest) -> Result<OpenBlob, LayoutError> {
        let found = match self {
            Self::Directory(path) => open_file(&blob_path(path, digest))?,
            Self::Archive { path, blobs, .. } => match blobs.get(&digest) {
                Some(part) => Some(OpenBlob { file: open_at(path, *part)?, part: *part }),
                None => None,
            },
        };
        found.ok_or_else(|| LayoutError::BlobNotFound { path: self.path().to_owned(), digest })
    }

    /// The directory, to write to it.
    pub(super) fn directory(&self) -> Result<&Path, LayoutError> {
        match self {
            Self::Directory(path) => Ok(path),
            Self::Archive { path, .. } => Err(LayoutError::ReadOnly { path: path.clone() }),
        }
    }

    pub(super) fn write_index(&self, index: &Index) -> Result<(), LayoutError> {
        let path = self.directory()?;
        replace(path, &path.join(INDEX_FILE), &index.to_bytes())
    }

    pub(super) fn write_blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), LayoutError> {
        let path = self.directory()?;
        replace(path, &blob_path(path, digest), bytes)
    }

    pub(super) fn remove_blob(&self, digest: Digest) -> Result<(), LayoutError> {
        let file = blob_path(self.directory()?, digest);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(LayoutError::io(&file, "removing it")(error))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn blob_path(directory: &Path, digest: Digest) -> PathBuf {
    directory.join(BLOBS).join(digest.hex())
}

/// A file that becomes visible only when it is whole.
pub(super) fn temporary(directory: &Path) -> Result<NamedTempFile, LayoutError> {
    let mode = std::fs::Permissions::from_mode(0o644);
    let made = tempfile::Builder::new().prefix(".accel-").permissions(mode).tempfile_in(directory);
    made.map_err(LayoutError::io(directory, "making a temporary file"))
}

/// Gives a finished file its name.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<(), LayoutError> {
    file.as_file().sync_all().map_err(LayoutError::io(path, "writing it"))?;
    file.persist(path).map_err(|error| LayoutError::io(path, "giving it its name")(error.error))?;
    Ok(())
}

fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
    let mut file = temporary(directory)?;
    file.write_all(bytes).map_err(LayoutError::io(path, "writing it"))?;
    persist(file, path)
}

fn open_file(path: &Path) -> Result<Option<OpenBlob>, LayoutError> {
    let opening = "opening it";
    let is_file = match std::fs::metadata(path) {
        Ok(metadata) => metadata.is_file(), // opening a pipe would wait for its other end
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LayoutError::io(path, opening)(error)),
    };
    if !is_file {
        return Ok(None);
    }
    let file = File::open(path).map_err(LayoutError::io(path, opening))?;
    let size = file.metadata().map_err(LayoutError::io(path, opening))?.len();
    Ok(Some(OpenBlob { file, part: Part { offset: 0, size } }))
}

fn open_at(path: &Path, part: Part) -> Result<File, LayoutError> {
    let mut file = File::open(path).map_err(LayoutError::io(path, "opening it"))?;
    file.seek(SeekFrom::Start(part.offset)).map_err(LayoutError::io(path, "reading it"))?;
    Ok(file)
}

fn read_bounded(path: &Path, file: impl Read, limit: u64) -> Result<Vec<u8>, LayoutError> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(LayoutError::io(path, "reading it"))?;
    if bytes.len() as u64 > limit {
        let reason = format!("a document in it is larger than {limit} bytes");
        return Err(LayoutError::NotALayout { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

fn check_version(path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let version = value.get("imageLayoutVersion").and_then(serde_json::Value::as_str).unwrap_or_default();
    if version.starts_with("1.") {
        return Ok(());
    }
    let reason = format!("its `{VERSION_FILE}` file does not say version 1");
    Err(LayoutError::NotALayout { path: path.to_owned(), reason })
}

fn parse_index(path: &Path, bytes: &[u8]) -> Result<Index, LayoutError> {
    serde_json::from_slice(bytes).map_err(|error| LayoutError::NotALayout {
        path: path.to_owned(),
        reason: format!("its `{INDEX_FILE}` cannot be read: {error}"),
    })
}
