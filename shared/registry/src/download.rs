//! A blob as a stream from a registry: verified at its end, taken up again in place when the connection breaks.

use accel_image::Descriptor;
use bytes::Bytes;

use crate::answer::Answer;
use crate::blobs::{short, skip_front};
use crate::error::{Action, Object, RegistryError};
use crate::registries::Repository;
use crate::retry::Backoff;
use crate::verify::Verifier;

/// Progress that earns all tries again; a server that breaks off after every byte earns none.
const PROGRESS_BYTES: u64 = 64 << 10;

/// A running download.
pub(crate) struct Download {
    repository: Repository,
    descriptor: Descriptor,
    /// `None` while the connection is broken.
    answer: Option<Answer>,
    /// Bytes that the server sends again because it knows no ranges.
    skip: u64,
    verifier: Verifier,
    backoff: Backoff,
    /// Where the tries were last earned.
    earned_at: u64,
}

impl Repository {
    pub(crate) async fn download(&self, descriptor: &Descriptor, start: u64) -> Result<Download, RegistryError> {
        let size = descriptor.size;
        if start > size {
            let action = Box::new(self.action("GET", Object::Blob(descriptor.digest)));
            return Err(RegistryError::OutOfRange { action, offset: start, end: size, size });
        }
        let mut download = Download {
            repository: self.clone(),
            descriptor: descriptor.clone(),
            answer: None,
            skip: 0,
            verifier: Verifier::new(descriptor, start),
            backoff: self.host.backoff(),
            earned_at: start,
        };
        download.connect().await?;
        Ok(download)
    }
}

impl Download {
    /// The next bytes, never empty; `None` after the last, when size and digest agree.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let read = match &mut self.answer {
                Some(answer) => answer.chunk().await,
                None => Ok(None),
            };
            match read {
                Ok(Some(mut chunk)) => {
                    skip_front(&mut chunk, &mut self.skip);
                    if !chunk.is_empty() {
                        return self.pass(chunk).map(Some);
                    }
                }
                Ok(None) | Err(_) if self.verifier.is_complete() => return self.finish(),
                Ok(None) => self.resume(None).await?,
                Err(error) => self.resume(Some(error)).await?,
            }
        }
    }

    fn pass(&mut self, chunk: Bytes) -> Result<Bytes, RegistryError> {
        if let Err(found) = self.verifier.take(&chunk) {
            return Err(self.mismatch(found));
        }
        if self.verifier.position() - self.earned_at >= PROGRESS_BYTES {
            self.earned_at = self.verifier.position();
            self.backoff.reset();
        }
        Ok(chunk)
    }

    fn finish(&mut self) -> Result<Option<Bytes>, RegistryError> {
        self.answer = None;
        let checked = self.verifier.finish();
        checked.map_err(|found| self.mismatch(found))?;
        Ok(None)
    }

    /// Goes on after the last byte that was delivered.
    async fn resume(&mut self, error: Option<RegistryError>) -> Result<(), RegistryError> {
        let broken = self.answer.take().map(|answer| short(&answer, self.verifier.position(), self.descriptor.size));
        if let Some(error) = error.or(broken) {
            self.backoff.wait(error).await?;
        }
        self.connect().await
    }

    async fn connect(&mut self) -> Result<(), RegistryError> {
        if self.verifier.is_complete() && self.verifier.position() > 0 {
            return Ok(()); // there is nothing to ask for, and an empty range is an error
        }
        loop {
            match self.repository.open_range(&self.descriptor, self.verifier.position(), None).await {
                Ok((answer, skip)) => {
                    (self.answer, self.skip) = (Some(answer), skip);
                    return Ok(());
                }
                Err(error) => self.backoff.wait(error).await?,
            }
        }
    }

    fn mismatch(&mut self, found: String) -> RegistryError {
        self.answer = None;
        let action: Action = self.repository.action("GET", Object::Blob(self.descriptor.digest));
        self.repository.mismatch(action, &self.descriptor, found)
    }
}
