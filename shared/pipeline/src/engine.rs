//! What all conversions of a process share: compression threads and memory.

use std::sync::Arc;

use accel_driver::Pool;
use tokio::sync::Semaphore;

use crate::bodies::BodyPool;

/// Shared by all conversions of a process. Cheap to clone.
///
/// Memory: the pool's units, and for each open layer two upload bodies of 4 MiB. Layers open at a time are as many as
/// compression threads, at least two.
#[derive(Clone)]
pub struct Engine {
    pub(crate) pool: Pool,
    pub(crate) bodies: BodyPool,
    pub(crate) open_layers: Arc<Semaphore>,
}

impl Engine {
    /// An engine with `threads` compression threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let pool = Pool::new(threads);
        let open_layers = pool.threads().max(2);
        Self { pool, bodies: BodyPool::new(open_layers), open_layers: Arc::new(Semaphore::new(open_layers)) }
    }
}
