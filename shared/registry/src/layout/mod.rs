//! OCI image layouts, as a directory or as one tar file: the other kind of end that the pipeline has.
//!
//! Nothing becomes visible before it is whole: blobs and `index.json` are temporary files until they are renamed. Spec:
//! OCI image, "Image Layout".

mod error;
mod index;
mod name;

mod archive;
mod store;

mod stream;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use accel_image::{Descriptor, Digest, MAX_DOCUMENT_BYTES, RawDocument};
use bytes::{Bytes, BytesMut};
use tempfile::TempDir;

pub use error::LayoutError;
pub use name::LayoutName;
pub(crate) use stream::{FileDownload, FileUpload};

use crate::PutReceipt;
use store::Store;

/// An OCI image layout. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Layout {
    store: Arc<Store>,
    /// Held while `index.json` is read, changed and replaced.
    index_lock: Arc<Mutex<()>>,
    unwritten: Option<Arc<Unwritten>>,
}

/// An archive that is written by [`Layout::finish`], and the directory that holds it until then.
#[derive(Debug)]
struct Unwritten {
    archive: PathBuf,
    directory: TempDir,
}

impl Layout {
    /// A layout in a directory, to read from it and to write to it.
    ///
    /// # Errors
    /// [`LayoutError::NotALayout`].
    pub async fn open_directory(path: &Path) -> Result<Self, LayoutError> {
        let path = path.to_owned();
        blocking(move || Store::open_directory(&path)).await.map(Self::new)
    }

    /// A layout in a directory, which is made if it is not there. What it holds stays.
    ///
    /// # Errors
    /// [`LayoutError::NotALayout`] for a directory with something else in it.
    pub async fn create_directory(path: &Path) -> Result<Self, LayoutError> {
        let path = path.to_owned();
        blocking(move || Store::create_directory(&path)).await.map(Self::new)
    }

    /// A layout in a tar file, to read from it. Its headers are read once.
    ///
    /// # Errors
    /// [`LayoutError::NotALayout`].
    pub async fn open_archive(path: &Path) -> Result<Self, LayoutError> {
        let path = path.to_owned();
        blocking(move || Store::open_archive(&path)).await.map(Self::new)
    }

    /// A new layout in a tar file. Until [`finish`](Self::finish) writes it, its blobs lie in a temporary directory
    /// beside it: a tar file wants to know a size before the bytes.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn create_archive(path: &Path) -> Result<Self, LayoutError> {
        let archive = path.to_owned();
        blocking(move || {
            let parent = archive.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let made = tempfile::Builder::new().prefix(".accel-").tempdir_in(parent);
            let directory = made.map_err(LayoutError::io(parent, "making a temporary directory"))?;
            let layout = Self::new(Store::create_directory(directory.path())?);
            Ok(Self { unwritten: Some(Arc::new(Unwritten { archive, directory })), ..layout })
        })
        .await
    }

    fn new(store: Store) -> Self {
        Self { store: Arc::new(store), index_lock: Arc::default(), unwritten: None }
    }

    /// Writes the tar file of a new archive; a directory is complete without it. Call it after the tag is put.
    ///
    /// # Errors
    /// The file cannot be written; what was there before stays.
    pub async fn finish(&self) -> Result<(), LayoutError> {
        let Some(unwritten) = self.unwritten.clone() else { return Ok(()) };
        blocking(move || archive::write(unwritten.directory.path(), &unwritten.archive)).await
    }

    /// The directory or the tar file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.unwritten.as_ref().map_or_else(|| self.store.path(), |unwritten| &unwritten.archive)
    }

    /// Whether both are one layout.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let real =
            |layout: &Self| layout.store.path().canonicalize().unwrap_or_else(|_| layout.store.path().to_owned());
        real(self) == real(other)
    }

    /// What stands under a tag or digest.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn head_manifest(&self, key: &str) -> Result<Option<Descriptor>, LayoutError> {
        match self.get_manifest(key).await {
            Ok(found) => Ok(Some(found.descriptor())),
            Err(LayoutError::ManifestNotFound { .. } | LayoutError::BlobNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifest or index under a tag or digest, verified.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn get_manifest(&self, key: &str) -> Result<RawDocument, LayoutError> {
        let (store, owned) = (self.store.clone(), key.to_owned());
        let descriptor = blocking(move || resolve(&store, &owned)).await?;
        let media_type = descriptor.media_type.clone();
        let bytes = self.get_small_blob(&descriptor, MAX_DOCUMENT_BYTES as u64).await?;
        let header = (!media_type.is_empty()).then_some(media_type.as_str());
        let (path, key) = (self.path().to_owned(), key.to_owned());
        RawDocument::parse(bytes, header).map_err(|source| LayoutError::Document { path, key, source })
    }

    /// Puts a manifest or an index, under a tag or by its digest alone.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn put_manifest(&self, key: &str, media_type: &str, bytes: Bytes) -> Result<PutReceipt, LayoutError> {
        let descriptor = Descriptor::of(media_type, &bytes);
        let receipt = PutReceipt { digest: descriptor.digest, subject_acknowledged: false };
        let (layout, key) = (self.clone(), key.to_owned());
        blocking(move || {
            layout.store.write_blob(descriptor.digest, &bytes)?;
            if key.parse::<Digest>().is_ok() {
                return Ok(receipt);
            }
            layout.change_index(|listed| index::set(listed, &key, descriptor))?;
            Ok(receipt)
        })
        .await
    }

    /// Takes a manifest out with all its tags.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn delete_manifest(&self, digest: Digest) -> Result<(), LayoutError> {
        let layout = self.clone();
        blocking(move || {
            layout.change_index(|listed| index::remove(listed, digest))?;
            layout.store.remove_blob(digest)
        })
        .await
    }

    fn change_index(&self, change: impl FnOnce(&mut accel_image::Index)) -> Result<(), LayoutError> {
        let _held = self.index_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed = self.store.index()?;
        change(&mut listed);
        self.store.write_index(&listed)
    }

    /// The size of a blob in bytes; `None` if it is not there.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn has_blob(&self, digest: Digest) -> Result<Option<u64>, LayoutError> {
        let store = self.store.clone();
        match blocking(move || store.open_blob(digest)).await {
            Ok(open) => Ok(Some(open.part.size)),
            Err(LayoutError::BlobNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A whole blob of at most `limit` bytes, verified.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn get_small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, LayoutError> {
        if descriptor.size > limit {
            let (path, digest) = (self.path().to_owned(), descriptor.digest);
            return Err(LayoutError::Range { path, digest, offset: 0, end: descriptor.size, limit });
        }
        let mut download = self.download(descriptor, 0).await?;
        let mut all = BytesMut::new();
        while let Some(chunk) = download.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// `length` bytes of a blob from `offset` on, not verified.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub async fn read_range(&self, descriptor: &Descriptor, offset: u64, length: u64) -> Result<Bytes, LayoutError> {
        let (end, limit) = (offset.saturating_add(length), descriptor.size);
        if end > limit {
            let (path, digest) = (self.path().to_owned(), descriptor.digest);
            return Err(LayoutError::Range { path, digest, offset, end, limit });
        }
        let mut download = self.download(descriptor, offset).await?;
        let mut found = BytesMut::new();
        while (found.len() as u64) < length {
            let Some(chunk) = download.next().await? else { break };
            found.extend_from_slice(&chunk);
        }
        found.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(found.freeze())
    }

    pub(crate) async fn download(&self, descriptor: &Descriptor, start: u64) -> Result<FileDownload, LayoutError> {
        let (store, descriptor) = (self.store.clone(), descriptor.clone());
        blocking(move || FileDownload::open(&store, &descriptor, start)).await
    }

    pub(crate) async fn start_upload(&self) -> Result<FileUpload, LayoutError> {
        let store = self.store.clone();
        blocking(move || FileUpload::start(store)).await
    }
}

/// The descriptor of a tag or digest. By digest its media type is not known: the document says it itself.
fn resolve(store: &Store, key: &str) -> Result<Descriptor, LayoutError> {
    if let Ok(digest) = key.parse::<Digest>() {
        let size = store.open_blob(digest)?.part.size;
        return Ok(Descriptor::new("", digest, size));
    }
    let listed = store.index()?;
    index::find(&listed, key).cloned().ok_or_else(|| LayoutError::ManifestNotFound {
        path: store.path().to_owned(),
        key: key.to_owned(),
        known: index::known_tags(&listed),
    })
}

/// Runs file work beside the reactor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, LayoutError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(LayoutError::Io {
                path: PathBuf::new(),
                doing: "working with a layout",
                source: std::io::Error::other(cancelled),
            }),
        },
    }
}
