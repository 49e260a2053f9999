//! Which request fails, and how.

use std::time::Duration;

use accel_image::Digest;
use bytes::Bytes;

use super::request::Request;

/// One way to fail. Unless it says otherwise, the registry does not do the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An error envelope.
    Status {
        /// The HTTP status.
        status: u16,
        /// The code in the envelope.
        code: String,
        /// The Retry-After header, as it is to be written.
        retry_after: Option<String>,
        /// The message in the envelope.
        words: String,
    },
    /// This answer, whatever was asked.
    Answers {
        /// The HTTP status.
        status: u16,
        /// The headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// An HTML page with status 200, as captive portals and login pages send it.
    Html,
    /// A redirect. `{path}` in the address is replaced by the request's path and query.
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The Location header.
        to: String,
    },
    /// The connection is reset before any byte of an answer.
    Reset,
    /// The work is done, then the connection is reset before any byte of an answer.
    AnswerLost,
    /// Nothing is answered until [`release`](super::FaultyRegistry::release).
    Hang,
    /// The request waits for its turn, which [`held`](super::FaultyRegistry::held) gives it; then the work is done.
    Held,
    /// The work is done; the connection is reset after so many bytes of the answer's body.
    ResetInBody {
        /// Bytes of the body that are sent.
        after: usize,
    },
    /// The work is done; the connection is closed, politely, after so many bytes of the answer's body.
    ClosedInBody {
        /// Bytes of the body that are sent.
        after: usize,
    },
    /// The registry takes so many bytes of the request's body, then the connection is reset.
    ResetInUpload {
        /// Bytes of the body that are kept.
        after: usize,
    },
    /// The work is done; the answer's body stops after so many bytes until
    /// [`release`](super::FaultyRegistry::release), and goes on then.
    Stalled {
        /// Bytes of the body that are sent at once.
        after: usize,
    },
    /// The work is done; the answer's body comes in pieces with a pause after each.
    Slow {
        /// Bytes of a piece.
        piece: usize,
        /// The pause.
        pause: Duration,
    },
    /// The work is done; one bit in the middle of the answer's body is wrong.
    WrongBytes,
    /// The work is done; the answer's body, and its Content-Length, lack bytes at the end.
    Shorter {
        /// How many.
        by: usize,
    },
    /// The work is done; the answer's body, and its Content-Length, have more bytes at the end.
    Longer {
        /// How many.
        by: usize,
    },
    /// The work is done; the answer's body is followed by zeros without end.
    Endless,
    /// The work is done; a header of the answer says something else.
    Header {
        /// Its name.
        name: String,
        /// What it says; nothing removes it.
        value: Option<String>,
    },
    /// Part of the request's body is kept, and the answer says how much.
    KeepsPart {
        /// Bytes that are kept.
        bytes: usize,
        /// The status of the answer: 202, or 416.
        status: u16,
    },
    /// The registry ignores Range headers.
    NoRange,
    /// The registry has no HEAD.
    NoHead,
    /// The registry opens an upload instead of mounting.
    NoMount,
    /// The registry has no referrers API and says nothing of a subject.
    NoReferrers,
    /// All upload sessions are lost before the work is done.
    SessionLost,
    /// All tokens expire before the work is done.
    TokenExpired,
    /// The work is done, then the blob that the path names is deleted.
    BlobVanishes,
    /// A blob is deleted from the path's repository before the work is done.
    BlobGone(Digest),
    /// The work is done; the manifest in the answer is padded beyond the limit.
    ManifestTooLarge,
    /// The work is done; Location headers are absolute and name another origin, like `http://127.0.0.1:1`.
    LocationAt(String),
}

impl Fault {
    /// An error envelope with a status and the code that goes with it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "MANIFEST_UNKNOWN",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        Self::refusal(status, code)
    }

    /// An error envelope with a status and a code.
    #[must_use]
    pub fn refusal(status: u16, code: &str) -> Self {
        Self::says(status, code, "as the test asked for")
    }

    /// An error envelope with a status, a code and a message.
    #[must_use]
    pub fn says(status: u16, code: &str, words: &str) -> Self {
        Self::Status { status, code: code.to_owned(), retry_after: None, words: words.to_owned() }
    }

    /// An answer with headers and a body.
    #[must_use]
    pub fn answers(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Answers { status, headers, body: body.into() }
    }

    /// An error envelope that says when to come back.
    #[must_use]
    pub fn retry_after(status: u16, retry_after: &str) -> Self {
        match Self::status(status) {
            Self::Status { status, code, words, .. } => {
                Self::Status { status, code, retry_after: Some(retry_after.to_owned()), words }
            }
            other => other,
        }
    }
}

/// Which requests a fault is for.
#[derive(Debug, Clone)]
pub struct Rule {
    request: Request,
    path: String,
    first: usize,
    last: usize,
    seen: usize,
    pub(super) fault: Fault,
}

impl Rule {
    /// Every request of a kind.
    #[must_use]
    pub fn on(request: Request, fault: Fault) -> Self {
        Self { request, path: String::new(), first: 1, last: usize::MAX, seen: 0, fault }
    }

    /// Only requests whose path and query contain `part`.
    #[must_use]
    pub fn path(self, part: impl ToString) -> Self {
        Self { path: part.to_string(), ..self }
    }

    /// Only the `n`th of them, counted from 1.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        Self { first: n, last: n, ..self }
    }

    /// Only the first one.
    #[must_use]
    pub fn once(self) -> Self {
        self.nth(1)
    }

    /// Only the first `n` of them.
    #[must_use]
    pub fn times(self, n: usize) -> Self {
        Self { first: 1, last: n, ..self }
    }

    /// Only the `n`th and those after it, counted from 1.
    #[must_use]
    pub fn from(self, n: usize) -> Self {
        Self { first: n, last: usize::MAX, ..self }
    }

    /// Counts the request if it is one of these; whether it fails.
    pub(super) fn applies(&mut self, request: Request, path: &str) -> bool {
        if request != self.request || !path.contains(&self.path) {
            return false;
        }
        self.seen += 1;
        (self.first..=self.last).contains(&self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_its_own_requests() {
        let rule = || Rule::on(Request::BlobGet, Fault::Reset).path("/x");
        let rows = [
            (rule(), [true, true, true]),
            (rule().once(), [true, false, false]),
            (rule().nth(2), [false, true, false]),
            (rule().times(2), [true, true, false]),
            (rule().from(2), [false, true, true]),
        ];
        for (mut rule, expected) in rows {
            assert!(!rule.applies(Request::BlobHead, "/x") && !rule.applies(Request::BlobGet, "/y"));
            assert_eq!([0; 3].map(|_| rule.applies(Request::BlobGet, "/x")), expected, "{rule:?}");
        }
    }
}
