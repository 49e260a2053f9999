//! The dictionaries that conversions of a process use: each is read once and held once, for as long as one of them uses it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use accel_domain::{ByteSize, NydusCompressor};
use accel_image::Digest;
use accel_stream::Limits;
use tokio::sync::OnceCell;

use super::Contents;
use crate::engine::Engine;
use crate::error::ConvertError;

/// Those of a process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Dictionaries(Arc<Mutex<Places>>);

type Places = Vec<(Key, Weak<Place>)>;
/// Where a dictionary is, once it is read.
type Place = OnceCell<Contents>;

/// Which dictionary, and for what it is read: who may not read one that large is not given it either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The digest of the image.
    pub(super) image: Digest,
    pub(super) compressor: NydusCompressor,
    pub(super) chunk_size: ByteSize,
    pub(super) limits: Limits,
}

/// A dictionary that is read; others find it here until this is dropped.
pub(super) struct InUse(Arc<Place>);

impl Dictionaries {
    /// What is in use under `key`, or what `read` reads now; of those who ask at the same time one reads, and the others wait.
    /// A failure is nobody else's: the next one reads.
    ///
    /// Reading counts as an open layer. A conversion has its dictionary before it opens any, so that none waits here that
    /// others wait for.
    pub(super) async fn take(
        &self,
        key: Key,
        engine: &Engine,
        read: impl Future<Output = Result<Contents, ConvertError>>,
    ) -> Result<InUse, ConvertError> {
        let place = self.place(key);
        let reading = async {
            let _open = engine.open().await;
            read.await
        };
        place.get_or_try_init(|| reading).await?;
        Ok(InUse(place))
    }

    /// Where it is, or will be.
    fn place(&self, key: Key) -> Arc<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|(_, place)| place.strong_count() > 0);
        let known = places.iter().find(|(known, _)| *known == key).and_then(|(_, place)| place.upgrade());
        known.unwrap_or_else(|| {
            let place = Arc::default();
            places.push((key, Arc::downgrade(&place)));
            place
        })
    }
}

impl Deref for InUse {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        self.0.get().expect("it is made when the contents are there")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashMap;
    use std::pin::pin;

    use accel_domain::NydusOptions;
    use accel_driver_nydus::DictionaryBuilder;
    use futures::FutureExt;

    use super::*;

    fn contents() -> Contents {
        let chunks = DictionaryBuilder::new(NydusOptions::default()).build().unwrap();
        Contents { layers: HashMap::new(), chunks: Arc::new(chunks) }
    }

    fn key(image: &[u8]) -> Key {
        let (compressor, chunk_size) = (NydusCompressor::Zstd, ByteSize(1 << 20));
        Key { image: Digest::of(image), compressor, chunk_size, limits: Limits::default() }
    }

    /// An engine, and how often was read with it.
    struct Process(Engine, Cell<u32>);

    impl Process {
        fn new() -> Self {
            Self(Engine::new(1), Cell::new(0))
        }

        async fn take(&self, key: Key) -> InUse {
            let read = async {
                self.1.set(self.1.get() + 1);
                tokio::task::yield_now().await;
                Ok(contents())
            };
            self.0.dictionaries.take(key, &self.0, read).await.unwrap()
        }

        fn reads(&self) -> u32 {
            self.1.get()
        }
    }

    #[tokio::test]
    async fn is_read_and_held_once_while_it_is_used() {
        let process = Process::new();
        let (one, other) = tokio::join!(process.take(key(b"1")), process.take(key(b"1")));
        assert!(Arc::ptr_eq(&one.chunks, &other.chunks));
        drop(one);
        let third = process.take(key(b"1")).await;
        assert!(Arc::ptr_eq(&third.chunks, &other.chunks));
        assert_eq!(process.reads(), 1);
        let unused = Arc::downgrade(&third.chunks);
        drop((third, other));
        assert!(unused.upgrade().is_none(), "nobody uses it");
        process.take(key(b"1")).await;
        assert_eq!(process.reads(), 2);
    }

    #[tokio::test]
    async fn nobody_gets_what_was_read_for_others() {
        let process = Process::new();
        let limits = Limits { entries: 7, ..Limits::default() };
        let keys = [
            key(b"1"),
            key(b"2"),
            Key { compressor: NydusCompressor::None, ..key(b"1") },
            Key { chunk_size: ByteSize(4096), ..key(b"1") },
            Key { limits, ..key(b"1") },
        ];
        let all = futures::future::join_all(keys.map(|key| process.take(key))).await;
        assert_eq!(process.reads() as usize, all.len());
    }

    #[tokio::test]
    async fn a_failure_or_a_stop_leaves_the_next_to_read() {
        let process = Process::new();
        let failing = async {
            tokio::task::yield_now().await;
            Err(ConvertError::Unsupported("no".to_owned()))
        };
        let first = process.0.dictionaries.take(key(b"1"), &process.0, failing);
        let (first, second) = tokio::join!(first, process.take(key(b"1")));
        assert!(first.is_err());
        drop(second);

        let mut stopped = Box::pin(process.0.dictionaries.take(key(b"2"), &process.0, std::future::pending()));
        assert!(stopped.as_mut().now_or_never().is_none());
        let mut next = pin!(process.take(key(b"2")));
        assert!(next.as_mut().now_or_never().is_none());
        drop(stopped);
        next.await;
        assert_eq!(process.reads(), 2);
    }

    #[tokio::test]
    async fn is_read_when_one_more_layer_may_be_open() {
        let process = Process::new();
        let open = [process.0.open().await, process.0.open().await];
        let mut taking = pin!(process.take(key(b"1")));
        assert!(taking.as_mut().now_or_never().is_none());
        assert_eq!(process.reads(), 0);
        drop(open);
        taking.await;
        assert_eq!(process.reads(), 1);
    }
}
