//! The bodies of uploads: 4 MiB buffers that all layers of the process share and use again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The size of one PATCH.
pub(crate) const BODY_BYTES: usize = 4 << 20;
/// Bodies beyond one that fills for each open layer: whatever is sent comes back, so that all go on.
const SPARE_BODIES: usize = 1;

/// The bodies of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BodyPool {
    permits: Arc<Semaphore>,
    spare: Arc<Mutex<Vec<BytesMut>>>,
}

/// Says that a body is in use.
pub(crate) type InUse = OwnedSemaphorePermit;

impl BodyPool {
    pub(crate) fn new(open_layers: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(open_layers + SPARE_BODIES)), spare: Arc::default() }
    }

    /// An empty body, as soon as there is one.
    pub(crate) async fn take(&self) -> (BytesMut, InUse) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        (spare.unwrap_or_else(|| BytesMut::with_capacity(BODY_BYTES)), permit)
    }

    /// Takes a body back that was sent. One that somebody still looks at is left to them.
    pub(crate) fn give_back(&self, body: Bytes, permit: InUse) {
        if let Ok(mut body) = body.try_into_mut() {
            body.clear();
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        drop(permit);
    }

    /// Frees the bodies that wait to be used again: for times without work.
    pub(crate) fn free_unused(&self) {
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_used_again() {
        let pool = BodyPool::new(1);
        let (mut body, permit) = pool.take().await;
        body.extend_from_slice(b"sent");
        let place = body.as_ptr();
        pool.give_back(body.freeze(), permit);
        let (body, _permit) = pool.take().await;
        assert_eq!((body.as_ptr(), body.len(), body.capacity()), (place, 0, BODY_BYTES));
    }
}
