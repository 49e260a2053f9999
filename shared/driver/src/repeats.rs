//! Chunks that a layer has more than once: the first place in the layer's order has the bytes, later ones refer to it.
//!
//! A thread that hashes a chunk looks here whether an earlier place has the same one, and then spares the compression.
//! It may look too early to know: then both are compressed and the ordered writer drops the later one. So what comes out
//! does not depend on who was faster, only the time does. Where small chunks are put together that would not do, see
//! [`crate::batches`].
//!
//! What a layer need not hold since it is kept elsewhere is left out wherever it comes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accel_image::Digest;

use crate::DriverError;
use crate::batches::Turn;
use crate::unit::Chunk;
/// Chunks that are kept elsewhere, so that a layer need not hold them.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Whether the chunk of `bytes` bytes with this digest is among them.
    fn has(&self, digest: &Digest, bytes: usize) -> bool;
}

/// The chunks of one layer. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Repeats {
    firsts: Arc<Mutex<HashMap<u128, First>>>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// Where a chunk is first.
#[derive(Debug, Clone, Copy)]
enum First {
    /// At this place, as far as is known.
    At(u64),
    /// It is in the blob, as the chunk of this number.
    Written(u32),
}

/// The place of a unit in its layer.
pub(crate) struct Order {
    pub(crate) repeats: Repeats,
    pub(crate) unit: u32,
    /// Where small chunks are put together: the unit's turn to decide, and how large batches are.
    pub(crate) batches: Option<(Turn, usize)>,
}

impl Repeats {
    /// The chunks of a layer that need not hold those of `elsewhere`.
    #[must_use]
    pub fn beside(elsewhere: Option<Arc<dyn Elsewhere>>) -> Self {
        Self { elsewhere, ..Self::default() }
    }

    /// The number of the chunk with this digest, if it is in the blob.
    #[must_use]
    pub fn written(&self, digest: &Digest) -> Option<u32> {
        match self.lock().get(&key(digest)) {
            Some(First::Written(number)) => Some(*number),
            Some(First::At(_)) | None => None,
        }
    }

    /// The chunk with this digest is in the blob now, as chunk `number`.
    pub fn write(&self, digest: &Digest, number: u32) {
        self.lock().insert(key(digest), First::Written(number));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, First>> {
        self.firsts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    /// Where small chunks are put together: which of `chunks` are repeats, which is certain, and how large batches are.
    pub(crate) fn decide(&mut self, chunks: &[Chunk]) -> Option<Result<(Vec<bool>, usize), DriverError>> {
        let (mut turn, most) = self.batches.take()?;
        let is_repeat = |(at, chunk): (usize, &Chunk)| self.is_repeat(&chunk.digest, chunk.len, at);
        let all = || chunks.iter().enumerate().map(is_repeat).collect();
        Some(turn.take(all).map(|repeats| (repeats, most)))
    }

    /// Whether chunk `chunk` of this unit, of so many bytes, is kept elsewhere, or a place before it has the same.
    pub(crate) fn is_repeat(&self, digest: &Digest, bytes: usize, chunk: usize) -> bool {
        if self.repeats.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.has(digest, bytes)) {
            return true;
        }
        let place = u64::from(self.unit) << 32 | chunk as u64;
        let mut firsts = self.repeats.lock();
        let first = firsts.entry(key(digest)).or_insert(First::At(place));
        match first {
            First::Written(_) => true,
            First::At(at) if *at < place => true,
            First::At(at) => {
                *at = place;
                false
            }
        }
    }
}

/// Half of the digest: enough that nobody finds two chunks that agree in it.
fn key(digest: &Digest) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_bytes()[..16]);
    u128::from_ne_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_has_the_bytes_whoever_comes_first() {
        let repeats = Repeats::default();
        let order = |unit| Order { repeats: repeats.clone(), unit, batches: None };
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        assert!(!order(3).is_repeat(&one, 1, 0));
        assert!(order(3).is_repeat(&one, 1, 1), "in the same unit");
        assert!(!order(2).is_repeat(&one, 1, 5), "an earlier place came later");
        assert!(order(2).is_repeat(&one, 1, 6) && order(9).is_repeat(&one, 1, 0));
        assert!(!order(9).is_repeat(&other, 1, 1));
        assert_eq!(repeats.written(&one), None);
        repeats.write(&one, 7);
        assert_eq!(repeats.written(&one), Some(7));
        assert!(order(10).is_repeat(&one, 1, 0));
    }
    #[test]
    fn what_is_kept_elsewhere_is_left_out_wherever_it_comes() {
        #[derive(Debug)]
        struct Only(Digest, usize);
        impl Elsewhere for Only {
            fn has(&self, digest: &Digest, bytes: usize) -> bool {
                (*digest, bytes) == (self.0, self.1)
            }
        }
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let repeats = Repeats::beside(Some(Arc::new(Only(one, 7))));
        let order = Order { repeats: repeats.clone(), unit: 0, batches: None };
        assert!(order.is_repeat(&one, 7, 0) && order.is_repeat(&one, 7, 1));
        assert!(!order.is_repeat(&one, 8, 2), "a chunk of another length is another chunk");
        assert!(!order.is_repeat(&other, 7, 3));
        assert_eq!(repeats.written(&one), None);
    }
}
