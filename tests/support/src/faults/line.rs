//! Connections that can be cut by the request they carry.
//!
//! A cut is made where the server next touches the socket, so it needs no other task and no time to pass.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// With a RST: the client sees "connection reset".
    Reset = 1,
    /// With a FIN: the client sees the end of the stream.
    Close = 2,
}

/// A handle to a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Arc<Cuts>);

#[derive(Debug, Default)]
struct Cuts {
    now: AtomicU8,
    when_flushed: AtomicU8,
}

impl Line {
    /// Cuts the connection before anything more is written.
    pub(super) fn cut(&self, how: Cut) {
        self.0.now.store(how as u8, Ordering::SeqCst);
    }

    /// Cuts the connection when everything that the server has is written.
    pub(super) fn cut_when_flushed(&self, how: Cut) {
        self.0.when_flushed.store(how as u8, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        match self.0.now.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn is_reset(&self) -> bool {
        self.0.now.load(Ordering::SeqCst) == Cut::Reset as u8
    }
}

/// A listener whose connections are [`CuttableStream`]s.
pub(super) struct Lines(pub(super) TcpListener);

impl Listener for Lines {
    type Io = CuttableStream;
    type Addr = Line;

    async fn accept(&mut self) -> (CuttableStream, Line) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        // Answers are small and many: waiting for more bytes only delays them.
        drop(stream.set_nodelay(true));
        let line = Line::default();
        (CuttableStream { stream, line: line.clone() }, line)
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line::default())
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A socket that a [`Line`] can cut.
pub(super) struct CuttableStream {
    stream: TcpStream,
    line: Line,
}

impl Drop for CuttableStream {
    fn drop(&mut self) {
        if self.line.is_reset() {
            // Where this fails the client sees a closed connection instead of a reset one.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.check()?;
        std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let planned = self.line.0.when_flushed.load(Ordering::SeqCst);
        if planned != 0 {
            self.line.0.now.store(planned, Ordering::SeqCst);
        }
        Poll::Ready(self.line.check())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.is_reset() {
            return Poll::Ready(self.line.check());
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
