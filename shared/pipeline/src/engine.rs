//! What all conversions of a process share: compression threads and memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use accel_driver::Pool;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::bodies::BodyPool;
use crate::dictionary::Dictionaries;

/// Shared by all conversions of a process. Cheap to clone.
///
/// Memory: the pool's units, and an upload body of 4 MiB for each open layer and one more. Layers open at a time are as
/// many as compression threads, at least two; a chunk dictionary that is read is one of them. While nothing is converted,
/// nothing is kept.
#[derive(Clone)]
pub struct Engine {
    pub(crate) pool: Pool,
    pub(crate) bodies: BodyPool,
    pub(crate) dictionaries: Dictionaries,
    open_layers: Arc<Semaphore>,
    conversions: Arc<AtomicUsize>,
}

/// Says that an image, or a layer by itself, is being converted.
pub(crate) struct AtWork<'e>(&'e Engine);

impl Engine {
    /// An engine with `threads` compression threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let pool = Pool::new(threads);
        let open_layers = pool.threads().max(2);
        Self {
            pool,
            bodies: BodyPool::new(),
            dictionaries: Dictionaries::default(),
            open_layers: Arc::new(Semaphore::new(open_layers)),
            conversions: Arc::default(),
        }
    }

    /// Waits until one more layer may be open; it is until this is dropped.
    pub(crate) async fn open(&self) -> SemaphorePermit<'_> {
        self.open_layers.acquire().await.expect("the semaphore is never closed")
    }

    /// An image is converted until this is dropped.
    pub(crate) fn at_work(&self) -> AtWork<'_> {
        self.conversions.fetch_add(1, Ordering::Relaxed);
        AtWork(self)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if self.0.conversions.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.bodies.free_unused();
            self.0.pool.free_unused();
        }
    }
}
