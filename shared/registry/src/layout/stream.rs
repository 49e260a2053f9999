//! A blob as a stream from a layout, and one that is written to it.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use accel_image::{Descriptor, Digest, Hasher};
use bytes::{Bytes, BytesMut};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt as _;

use super::blocking;
use super::error::LayoutError;
use super::store::{OpenBlob, Store, blob_path, persist, temporary};
use crate::verify::Verifier;

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// A blob that is being read.
pub(crate) struct FileDownload {
    path: PathBuf,
    descriptor: Descriptor,
    file: tokio::io::Take<tokio::fs::File>,
    verifier: Verifier,
}

impl FileDownload {
    /// Opens a blob from `start` on; its size has to be the descriptor's.
    pub(super) fn open(store: &Store, descriptor: &Descriptor, start: u64) -> Result<Self, LayoutError> {
        let path = store.path().to_owned();
        let size = descriptor.size;
        if start > size {
            return Err(LayoutError::Range { path, digest: descriptor.digest, offset: start, end: size, limit: size });
        }
        let OpenBlob { mut file, part } = store.open_blob(descriptor.digest)?;
        if part.size != size {
            return Err(mismatch(&path, descriptor, format!("but it has {}", part.size)));
        }
        file.seek(SeekFrom::Start(part.offset + start)).map_err(LayoutError::io(&path, "reading a blob"))?;
        let file = tokio::fs::File::from_std(file).take(size - start);
        Ok(Self { path, descriptor: descriptor.clone(), file, verifier: Verifier::new(descriptor, start) })
    }

    /// The next bytes, never empty; `None` after the last, when size and digest agree.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LayoutError> {
        let mut chunk = BytesMut::with_capacity(READ_BYTES);
        self.file.read_buf(&mut chunk).await.map_err(LayoutError::io(&self.path, "reading a blob"))?;
        let checked = match chunk.is_empty() {
            true if !self.verifier.is_complete() => Err(format!("but it ends at {}", self.verifier.position())),
            true => self.verifier.finish(),
            false => self.verifier.take(&chunk),
        };
        checked.map_err(|found| mismatch(&self.path, &self.descriptor, found))?;
        Ok((!chunk.is_empty()).then(|| chunk.freeze()))
    }
}

fn mismatch(path: &Path, descriptor: &Descriptor, found: String) -> LayoutError {
    LayoutError::Mismatch { path: path.to_owned(), digest: descriptor.digest, size: descriptor.size, found }
}

/// A blob that is being written: a temporary file of the layout until its digest is known.
pub(crate) struct FileUpload {
    store: Arc<Store>,
    /// `None` after a write that failed.
    written: Option<(NamedTempFile, Hasher)>,
}

impl FileUpload {
    pub(super) fn start(store: Arc<Store>) -> Result<Self, LayoutError> {
        let file = temporary(store.directory()?)?;
        Ok(Self { store, written: Some((file, Hasher::default())) })
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), LayoutError> {
        let (mut file, mut hasher) = self.take()?;
        let path = self.store.path().to_owned();
        let written = blocking(move || {
            hasher.update(&bytes);
            file.write_all(&bytes).map_err(LayoutError::io(&path, "writing a blob"))?;
            Ok((file, hasher))
        });
        self.written = Some(written.await?);
        Ok(())
    }

    pub(crate) async fn finish(mut self, digest: Digest) -> Result<(), LayoutError> {
        let (file, hasher) = self.take()?;
        let store = self.store.clone();
        blocking(move || {
            let (size, found) = (hasher.bytes(), hasher.finish());
            if found != digest {
                return Err(mismatch(
                    store.path(),
                    &Descriptor::new("", digest, size),
                    format!("but {found} was written"),
                ));
            }
            persist(file, &blob_path(store.directory()?, digest))
        })
        .await
    }

    fn take(&mut self) -> Result<(NamedTempFile, Hasher), LayoutError> {
        let failed = || std::io::Error::other("an earlier write failed");
        self.written.take().ok_or_else(|| LayoutError::io(self.store.path(), "writing a blob")(failed()))
    }
}
