//! The bodies of uploads: 4 MiB buffers, one for each open layer and a spare one that all layers of the process share.
//! A layer whose upload stands still does not keep the others from going on: each has a body of its own.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The size of one PATCH.
pub(crate) const BODY_BYTES: usize = 4 << 20;
/// Bodies beyond one for each open layer: it fills while the other one is sent.
const SPARE_BODIES: usize = 1;

/// The bodies of a process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BodyPool {
    spare: Arc<Semaphore>,
    free: Arc<Mutex<Vec<BytesMut>>>,
}

/// What an open layer may use: a body of its own, and the spare one.
#[derive(Clone)]
pub(crate) struct LayerBodies {
    pool: BodyPool,
    own: Arc<Semaphore>,
}

/// Says that a body is in use.
pub(crate) type InUse = OwnedSemaphorePermit;

impl BodyPool {
    pub(crate) fn new() -> Self {
        Self { spare: Arc::new(Semaphore::new(SPARE_BODIES)), free: Arc::default() }
    }

    /// The bodies of a layer that is open.
    pub(crate) fn for_layer(&self) -> LayerBodies {
        LayerBodies { pool: self.clone(), own: Arc::new(Semaphore::new(1)) }
    }

    /// Frees the bodies that wait to be used again: for times without work.
    pub(crate) fn free_unused(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }
}

impl LayerBodies {
    /// An empty body, as soon as there is one.
    pub(crate) async fn take(&self) -> (BytesMut, InUse) {
        let permit = tokio::select! {
            biased;
            own = Arc::clone(&self.own).acquire_owned() => own,
            spare = Arc::clone(&self.pool.spare).acquire_owned() => spare,
        };
        let permit = permit.expect("the semaphores are never closed");
        let free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        (free.unwrap_or_else(|| BytesMut::with_capacity(BODY_BYTES)), permit)
    }

    /// Takes a body back that was sent. One that somebody still looks at is left to them.
    pub(crate) fn give_back(&self, body: Bytes, permit: InUse) {
        if let Ok(mut body) = body.try_into_mut() {
            body.clear();
            self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        drop(permit);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_body_is_used_again() {
        let layer = BodyPool::new().for_layer();
        let (mut body, permit) = layer.take().await;
        body.extend_from_slice(b"sent");
        let place = body.as_ptr();
        layer.give_back(body.freeze(), permit);
        let (body, _permit) = layer.take().await;
        assert_eq!((body.as_ptr(), body.len(), body.capacity()), (place, 0, BODY_BYTES));
    }

    #[tokio::test]
    async fn a_layer_that_stands_still_leaves_each_other_one_its_own_body() {
        let pool = BodyPool::new();
        let (still, other) = (pool.for_layer(), pool.for_layer());
        let held = [still.take().await, still.take().await];
        assert!(still.take().now_or_never().is_none(), "its own and the spare one are all it may hold");
        let own = other.take().now_or_never().expect("a body of its own");
        assert!(other.take().now_or_never().is_none(), "the spare one is taken");
        drop(own);
        assert!(other.take().now_or_never().is_some());
        drop(held);
    }
}
