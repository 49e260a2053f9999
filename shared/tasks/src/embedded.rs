//! The embedded store: tasks, queue and layer records in one file, for one process.
//!
//! The file is a redb database. Every write is a closure that one thread runs; those that arrive within a millisecond
//! share a durable commit, and are answered once it is on disk. Every record carries a checksum that is verified when
//! it is read, and the whole file is verified when it is opened: damage is reported, never read.

mod clock;
mod file;
mod record;

mod tables;
mod writer;

mod layers;
mod purge;
mod queue;
mod tasks;
mod units;

mod salvage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

pub use clock::Clock;
pub use salvage::Salvaged;

use crate::StoreError;
use file::{Fault, StoreFile};
use tables::{Tables, View};
use writer::Writer;

/// The embedded store. Clones share it; the file is released when the last one is dropped.
#[derive(Clone)]
pub struct Embedded(Arc<Shared>);

struct Shared {
    // Before the file: dropping the writer waits for its thread.
    writer: Writer,
    file: Arc<StoreFile>,
    clock: Clock,
    next_message: AtomicU64,
    /// Raised when a message may have become visible.
    arrivals: watch::Sender<u64>,
}

impl Embedded {
    /// Opens the store in the file at `path`, or makes a new one there. Reads the whole file once to verify it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it, [`StoreError::Damaged`] if it is not as it was written (see
    /// [`Embedded::salvage`]), [`StoreError::Unavailable`] if it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path, Clock::system())
    }

    /// Opens the store with a clock of the caller's for its queue.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with(path: impl AsRef<Path>, clock: Clock) -> Result<Self, StoreError> {
        Self::start(StoreFile::open(path.as_ref())?, clock)
    }

    /// Sets the damaged file at `path` aside and copies what can be read of it into a new one. No process may have it
    /// open.
    ///
    /// # Errors
    /// [`StoreError::InUse`], or [`StoreError::Unavailable`] if the file cannot be read or the new one not be written;
    /// the damaged file is then still where it was.
    pub fn salvage(path: impl AsRef<Path>) -> Result<Salvaged, StoreError> {
        salvage::salvage(path.as_ref())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.file.path().to_owned()
    }

    fn start(file: StoreFile, clock: Clock) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let next_message = queue::first_free_id(&file)?;
        let now = clock.now();
        file.commit(|tables| queue::release_all(tables, now))?;
        let writer = Writer::start(Arc::clone(&file))?;
        let (arrivals, _) = watch::channel(0);
        Ok(Self(Arc::new(Shared { writer, file, clock, next_message: AtomicU64::new(next_message), arrivals })))
    }

    /// Runs `change` in the next commit; returns once that is on disk. `change` checks first and writes then: if it
    /// fails after a write, the whole commit is given up.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.writer.write(change).await
    }

    /// Runs `look` over the latest commit, on a thread that may block: a page that is not cached comes from the disk,
    /// and a list reads many.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.0);
        let looking = tokio::task::spawn_blocking(move || shared.file.view(look));
        looking.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the process is stopping".to_owned())))
    }

    fn next_message_id(&self) -> u64 {
        self.0.next_message.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded").field(&self.0.file.path()).finish()
    }
}
