//! Bodies that do not come as they should.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use tokio::sync::watch;

use super::line::{Cut, Line};
use super::seen;

/// Pieces of an endless body.
const ZEROS: &[u8] = &[0; 64 << 10];

/// The gate that holds stalled answers back, and counts them.
#[derive(Debug)]
pub(super) struct Gate {
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { open: watch::Sender::new(false), waiting: watch::Sender::new(0) }
    }

    /// Lets everybody through, now and later.
    pub(super) fn release(&self) {
        self.open.send_replace(true);
    }

    /// Waits until the gate is open.
    pub(super) async fn pass(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        // The sender is ours, so the wait ends only when the gate opens.
        drop(self.open.subscribe().wait_for(|open| *open).await);
    }

    /// Waits until `count` answers have come to the gate, ever.
    pub(super) async fn reached(&self, count: usize) {
        drop(self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await);
    }
}

/// `bytes`, then a cut.
pub(super) fn cut(bytes: Bytes, line: Line, how: Cut) -> Body {
    let sent = stream::iter([Ok::<_, Infallible>(bytes)]);
    // Pending makes the server write what it has and flush; the flush is where the line is cut.
    let end = stream::poll_fn(move |_| {
        line.cut_when_flushed(how);
        std::task::Poll::Pending
    });
    Body::from_stream(sent.chain(end))
}

/// `bytes` up to `after`, a wait at the gate, and the rest.
pub(super) fn stalled(bytes: Bytes, after: usize, gate: Arc<Gate>) -> Body {
    let first = bytes.slice(..after.min(bytes.len()));
    let rest = bytes.slice(first.len()..);
    let waiting = stream::once(async move {
        gate.pass().await;
        Ok::<_, Infallible>(rest)
    });
    Body::from_stream(stream::iter([Ok(first)]).chain(waiting))
}

/// `bytes` in pieces with a pause after each.
pub(super) fn slow(bytes: Bytes, piece: usize, pause: Duration) -> Body {
    Body::from_stream(stream::unfold(bytes, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        let next = left.split_to(piece.clamp(1, left.len()));
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(next), left))
    }))
}

/// `bytes` and zeros for ever.
pub(super) fn endless(bytes: Bytes) -> Body {
    let zeros = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(ZEROS)));
    Body::from_stream(stream::iter([Ok(bytes)]).chain(zeros))
}

/// The first `count` bytes of a request's body, then an error, as if the connection had broken there.
pub(super) fn broken_after(body: Body, count: usize) -> Body {
    let first = body.into_data_stream().scan(count, |left, chunk| {
        let wanted = *left > 0;
        let chunk = chunk.map(|chunk| keep(chunk, left));
        async move { wanted.then_some(chunk) }
    });
    let error = stream::iter([Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionReset)))]);
    Body::from_stream(first.chain(error))
}

/// The first `count` bytes of a request's body; the rest is read and dropped.
pub(super) fn shortened(body: Body, mut count: usize) -> Body {
    Body::from_stream(body.into_data_stream().map(move |chunk| chunk.map(|chunk| keep(chunk, &mut count))))
}

fn keep(mut chunk: Bytes, left: &mut usize) -> Bytes {
    chunk.truncate(*left);
    *left -= chunk.len();
    chunk
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Received,
    Sent,
}

/// The same body, counted in the log as it passes.
pub(super) fn counted(body: Body, line: Arc<seen::Line>, way: Way) -> Body {
    Body::from_stream(body.into_data_stream().inspect(move |chunk| {
        let bytes = chunk.as_ref().map_or(0, Bytes::len) as u64;
        match way {
            Way::Received => line.received.fetch_add(bytes, Ordering::SeqCst),
            Way::Sent => line.sent.fetch_add(bytes, Ordering::SeqCst),
        };
    }))
}
