//! An open upload: bytes that have no digest yet.

use accel_image::{Digest, Hasher};
use bytes::Bytes;

/// One upload session. It hashes as it grows, so that the closing PUT costs nothing.
///
/// A client whose connection broke goes on while the server may still be reading the old connection: only the
/// request that began last may append, so the two never mix.
#[derive(Debug)]
pub(crate) struct Session {
    repository: String,
    bytes: Vec<u8>,
    hasher: Hasher,
    writer: u64,
}

/// The right to append to a session, until another request takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer(u64);

impl Session {
    pub(crate) fn new(repository: &str) -> Self {
        Self { repository: repository.to_owned(), bytes: Vec::new(), hasher: Hasher::default(), writer: 0 }
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn begin(&mut self) -> Writer {
        self.writer += 1;
        Writer(self.writer)
    }

    /// Appends, unless another request has taken over.
    #[must_use]
    pub(crate) fn append(&mut self, writer: Writer, chunk: &[u8]) -> bool {
        let current = writer.0 == self.writer;
        if current {
            self.hasher.update(chunk);
            self.bytes.extend_from_slice(chunk);
        }
        current
    }

    /// The content and its digest; the session is empty afterwards and nobody may append.
    pub(crate) fn take(&mut self) -> (Digest, Bytes) {
        self.writer += 1;
        let bytes = std::mem::take(&mut self.bytes).into_boxed_slice();
        (std::mem::take(&mut self.hasher).finish(), Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_that_began_last_writes() {
        let mut session = Session::new("r");
        let first = session.begin();
        assert!(session.append(first, b"ab"));
        let second = session.begin();
        assert!(!session.append(first, b"late"));
        assert!(session.append(second, b"cd"));
        assert_eq!(session.offset(), 4);
        assert_eq!(session.take(), (Digest::of(b"abcd"), Bytes::from_static(b"abcd")));
        assert!(!session.append(second, b"ef"), "a closed session takes nothing");
    }
}
