//! One end of the pipeline: a repository of a registry, or a layout on disk, with the same methods.

use accel_image::{Descriptor, Digest, RawDocument};
use bytes::Bytes;

use crate::download::Download;
use crate::error::RegistryError;
use crate::layout::{FileDownload, FileUpload};
use crate::uploads::Session;
use crate::{Layout, PutReceipt, Repository};

/// One repository at one end. Cheap to clone.
#[derive(Debug, Clone)]
pub enum End {
    /// At a registry.
    Registry(Repository),
    /// On disk. It has one repository, without a name.
    Layout(Layout),
}

impl From<Repository> for End {
    fn from(repository: Repository) -> Self {
        Self::Registry(repository)
    }
}

impl End {
    /// See [`Repository::head_manifest`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn head_manifest(&self, key: &str) -> Result<Option<Descriptor>, RegistryError> {
        match self {
            Self::Registry(repository) => repository.head_manifest(key).await,
            Self::Layout(layout) => Ok(layout.head_manifest(key).await?),
        }
    }

    /// See [`Repository::get_manifest`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn get_manifest(&self, key: &str) -> Result<RawDocument, RegistryError> {
        match self {
            Self::Registry(repository) => repository.get_manifest(key).await,
            Self::Layout(layout) => Ok(layout.get_manifest(key).await?),
        }
    }

    /// See [`Repository::get_small_blob`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn get_small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Bytes, RegistryError> {
        match self {
            Self::Registry(repository) => repository.get_small_blob(descriptor, limit).await,
            Self::Layout(layout) => Ok(layout.get_small_blob(descriptor, limit).await?),
        }
    }

    /// A blob as a stream from `range_start` on. From 0 it is verified: its stream ends only if size and digest agree.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open_blob(&self, descriptor: &Descriptor, range_start: u64) -> Result<BlobStream, RegistryError> {
        match self {
            Self::Registry(repository) => {
                let download = repository.download(descriptor, range_start).await?;
                Ok(BlobStream(Stream::Registry(Box::new(download))))
            }
            Self::Layout(layout) => {
                let download = layout.download(descriptor, range_start).await?;
                Ok(BlobStream(Stream::Layout(Box::new(download))))
            }
        }
    }

    /// See [`Repository::read_range`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn read_range(&self, descriptor: &Descriptor, offset: u64, length: u64) -> Result<Bytes, RegistryError> {
        match self {
            Self::Registry(repository) => repository.read_range(descriptor, offset, length).await,
            Self::Layout(layout) => Ok(layout.read_range(descriptor, offset, length).await?),
        }
    }

    /// See [`Repository::has_blob`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn has_blob(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        match self {
            Self::Registry(repository) => repository.has_blob(digest).await,
            Self::Layout(layout) => Ok(layout.has_blob(digest).await?),
        }
    }

    /// See [`Repository::mount`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn mount(&self, digest: Digest, from_repository: &str) -> Result<bool, RegistryError> {
        match self {
            Self::Registry(repository) => repository.mount(digest, from_repository).await,
            Self::Layout(layout) => Ok(layout.has_blob(digest).await?.is_some()),
        }
    }

    /// Opens an upload.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn start_upload(&self) -> Result<Upload, RegistryError> {
        match self {
            Self::Registry(repository) => Ok(Upload(Sending::Registry(repository.start_session().await?))),
            Self::Layout(layout) => Ok(Upload(Sending::Layout(layout.start_upload().await?))),
        }
    }

    /// See [`Repository::put_manifest`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn put_manifest(&self, key: &str, media_type: &str, bytes: Bytes) -> Result<PutReceipt, RegistryError> {
        match self {
            Self::Registry(repository) => repository.put_manifest(key, media_type, bytes).await,
            Self::Layout(layout) => Ok(layout.put_manifest(key, media_type, bytes).await?),
        }
    }

    /// See [`Repository::delete_manifest`].
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn delete_manifest(&self, digest: Digest) -> Result<(), RegistryError> {
        match self {
            Self::Registry(repository) => repository.delete_manifest(digest).await,
            Self::Layout(layout) => Ok(layout.delete_manifest(digest).await?),
        }
    }

    /// What it is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Registry(repository) => repository.describe(),
            Self::Layout(layout) => layout.path().display().to_string(),
        }
    }

    /// Whether both are at one registry (or are one layout), so that blobs can be mounted.
    #[must_use]
    pub fn same_registry(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry(one), Self::Registry(other)) => one.same_registry(other),
            (Self::Layout(one), Self::Layout(other)) => one.is_same(other),
            (Self::Registry(_), Self::Layout(_)) | (Self::Layout(_), Self::Registry(_)) => false,
        }
    }

    /// The registry's host, or the layout's path.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Registry(repository) => repository.host(),
            Self::Layout(layout) => layout.path().to_str().unwrap_or("layout"),
        }
    }

    /// Whether both are the same repository.
    #[must_use]
    pub fn same_repository(&self, other: &Self) -> bool {
        self.same_registry(other) && self.repository() == other.repository()
    }

    /// The repository's name; empty for a layout.
    #[must_use]
    pub fn repository(&self) -> &str {
        match self {
            Self::Registry(repository) => repository.repository(),
            Self::Layout(_) => "",
        }
    }
}

/// A blob that streams in.
pub struct BlobStream(Stream);

enum Stream {
    Registry(Box<Download>),
    Layout(Box<FileDownload>),
}

impl BlobStream {
    /// The next bytes, never empty; `None` after the last, when size and (from 0 on) digest agree. A broken
    /// connection is taken up again inside. May be dropped at any point.
    ///
    /// # Errors
    /// [`RegistryError::Mismatch`] for other bytes than the descriptor says, and those of the network.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        match &mut self.0 {
            Stream::Registry(download) => download.next().await,
            Stream::Layout(download) => Ok(download.next().await?),
        }
    }
}

/// A blob that streams out. Dropped without [`finish`](Self::finish) it leaves nothing visible.
pub struct Upload(Sending);

enum Sending {
    Registry(Session),
    Layout(FileUpload),
}

impl Upload {
    /// Sends the next bytes: one PATCH a call, so give 4 MiB at a time. They are kept until the server has them.
    ///
    /// # Errors
    /// [`RegistryError::UploadLost`]: begin again with a new upload.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), RegistryError> {
        match &mut self.0 {
            Sending::Registry(session) => session.write(bytes).await,
            Sending::Layout(upload) => Ok(upload.write(bytes).await?),
        }
    }

    /// Makes the blob visible under `digest`, which the other side verifies.
    ///
    /// # Errors
    /// [`RegistryError::UploadLost`]: begin again with a new upload.
    pub async fn finish(self, digest: Digest) -> Result<(), RegistryError> {
        match self.0 {
            Sending::Registry(session) => session.finish(digest).await,
            Sending::Layout(upload) => Ok(upload.finish(digest).await?),
        }
    }

    /// Gives it up, as well as that can be done.
    pub async fn cancel(self) {
        match self.0 {
            Sending::Registry(session) => session.cancel().await,
            Sending::Layout(upload) => drop(upload), // its temporary file goes with it
        }
    }
}
