//! Every fault as a client sees it on the wire. The client is a bare socket, so nothing is retried or smoothed.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

mod bodies;
mod log;
mod refusals;
mod resets;
mod uploads;

use std::io;

use accel_test_support::FaultyRegistry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What came over the wire until it ended.
pub(crate) struct Answer {
    text: Vec<u8>,
    /// How the connection ended, where it was not closed.
    pub(crate) error: Option<io::ErrorKind>,
}

impl Answer {
    /// The status, or 0 where there was no answer.
    pub(crate) fn status(&self) -> u16 {
        let line = String::from_utf8_lossy(&self.text);
        line.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let end = self.text.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&self.text[..end]).into_owned();
        let found = head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name);
        found.map(|(_, value)| value.to_owned())
    }

    pub(crate) fn body(&self) -> &[u8] {
        match self.text.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => &self.text[end + 4..],
            None => &[],
        }
    }
}

/// Sends `"METHOD /path"` with header lines and a body, without waiting for the answer.
pub(crate) async fn open(registry: &FaultyRegistry, call: &str, headers: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(registry.addr()).await.unwrap();
    let host = registry.host();
    let length = body.len();
    let head =
        format!("{call} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    // Where the registry resets while we write, what was answered still counts.
    drop(stream.write_all(&[head.as_bytes(), body].concat()).await);
    stream
}

/// Reads until the connection ends.
pub(crate) async fn finish(mut stream: TcpStream) -> Answer {
    let mut text = Vec::new();
    let error = stream.read_to_end(&mut text).await.err().map(|error| error.kind());
    Answer { text, error }
}

pub(crate) async fn send(registry: &FaultyRegistry, call: &str, headers: &str, body: &[u8]) -> Answer {
    finish(open(registry, call, headers, body).await).await
}

pub(crate) async fn call(registry: &FaultyRegistry, call: &str) -> Answer {
    send(registry, call, "", b"").await
}

/// A registry with one blob, and the blob's path.
pub(crate) async fn with_blob(bytes: &'static [u8]) -> (FaultyRegistry, String) {
    let registry = FaultyRegistry::start().await;
    let digest = registry.content().put_blob("r", bytes);
    (registry, format!("/v2/r/blobs/{digest}"))
}

/// A new upload's path.
pub(crate) async fn upload(registry: &FaultyRegistry) -> String {
    call(registry, "POST /v2/r/blobs/uploads/").await.header("location").unwrap()
}
