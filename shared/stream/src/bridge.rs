//! The bounded bridge from async to blocking: a download on one side, [`std::io::Read`] on the other.
//!
//! At most `depth` chunks wait in it, so its memory is `depth` + 1 times the largest chunk sent. A body that was not
//! declared whole is never taken for one.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use crate::StreamError;

/// The reader has gone: whoever reads has ended or failed, and has the error that tells why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the body any more")]
pub struct Closed;

/// The async end, which is given the body.
#[derive(Debug)]
pub struct BodySender {
    chunks: mpsc::Sender<Bytes>,
    whole: Arc<AtomicBool>,
}

/// The blocking end, which hands the body out. To be read on a blocking thread only: tokio panics where a read would
/// block one of its workers.
#[derive(Debug)]
pub struct BodyReader {
    chunks: mpsc::Receiver<Bytes>,
    current: Bytes,
    whole: Arc<AtomicBool>,
}

/// A bridge that holds up to `depth` chunks (at least one).
#[must_use]
pub fn channel(depth: usize) -> (BodySender, BodyReader) {
    let (sender, receiver) = mpsc::channel(depth.max(1));
    let whole = Arc::new(AtomicBool::new(false));
    let reader = BodyReader { chunks: receiver, current: Bytes::new(), whole: Arc::clone(&whole) };
    (BodySender { chunks: sender, whole }, reader)
}

impl BodySender {
    /// Sends the next chunk; waits while the bridge is full.
    ///
    /// # Errors
    /// [`Closed`] if the reader was dropped.
    pub async fn send(&self, chunk: Bytes) -> Result<(), Closed> {
        self.chunks.send(chunk).await.map_err(|_| Closed)
    }

    /// Declares the body whole. Dropped without this, the sender leaves the reader with [`StreamError::Cut`].
    pub fn finish(self) {
        self.whole.store(true, Ordering::Release);
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None if self.whole.load(Ordering::Acquire) => return Ok(0),
                None => return Err(StreamError::Cut.into()),
            }
        }
        let count = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn hands_out_a_body_that_is_larger_than_the_bridge() {
        let (sender, mut reader) = channel(2);
        let reading = std::thread::spawn(move || {
            let mut body = Vec::new();
            reader.read_to_end(&mut body).map(|_| body)
        });
        runtime().block_on(async {
            for number in 0..100_u8 {
                sender.send(Bytes::from(vec![number; 1000 * usize::from(number % 3)])).await.unwrap();
            }
            sender.finish();
        });
        let expected: Vec<u8> = (0..100_u8).flat_map(|n| vec![n; 1000 * usize::from(n % 3)]).collect();
        assert!(reading.join().unwrap().unwrap() == expected);
    }

    #[test]
    fn calls_a_body_cut_if_its_sender_was_dropped() {
        let (sender, mut reader) = channel(4);
        runtime().block_on(sender.send(Bytes::from_static(b"half"))).unwrap();
        drop(sender);
        let mut body = Vec::new();
        let error = reader.read_to_end(&mut body).unwrap_err();
        assert_eq!((body.as_slice(), error.kind()), (&b"half"[..], io::ErrorKind::UnexpectedEof));
        assert!(matches!(StreamError::from_io(error), StreamError::Cut));
        assert!(reader.read(&mut [0; 8]).is_err(), "a cut body stays cut");
    }

    #[test]
    fn tells_the_sender_that_nobody_reads() {
        let (sender, reader) = channel(1);
        drop(reader);
        assert_eq!(runtime().block_on(sender.send(Bytes::from_static(b"x"))), Err(Closed));
    }

    #[test]
    fn makes_the_sender_wait_while_it_is_full() {
        let (sender, mut reader) = channel(1);
        let runtime = runtime();
        runtime.block_on(sender.send(Bytes::from_static(b"1"))).unwrap();
        runtime.block_on(async {
            let mut second = std::pin::pin!(sender.send(Bytes::from_static(b"2")));
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        });
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 1);
        runtime.block_on(sender.send(Bytes::from_static(b"2"))).unwrap();
        sender.finish();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"2");
    }
}
