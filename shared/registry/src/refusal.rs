//! Answers that say no: what each means and what a person can do about it.

use std::fmt;
use std::time::Duration;

use accel_domain::{ErrorClass, Retry};
use oci_client::errors::{OciEnvelope, OciErrorCode};

use crate::sent_authorization::SentAuthorization;
use crate::{Action, Object, RegistryError};

/// How much of a registry's own words is repeated.
const MAX_WORDS: usize = 300;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Out of order for now: 408, 409, 425 and 5xx.
    Unavailable,
    /// Nothing may be written for now.
    ReadOnly,
    /// Too many requests.
    Throttled,
    /// Harbor wants the image scanned or signed before anyone pulls it.
    ScanPending,
    /// No valid login, even with a fresh token.
    Unauthorized,
    /// The token realm does not know the identity token any more.
    IdentityToken,
    /// The token realm exchanges no identity tokens.
    NoExchange,
    /// The login may not do this.
    Forbidden,
    /// The project's storage is used up.
    Quota,
    /// The tag may not be changed.
    Immutable,
    /// The manifest is not accepted.
    InvalidManifest,
    /// The body is too large for the registry or for a proxy before it.
    TooLarge,
    /// The manifest, blob, upload or repository is not there.
    NotFound,
    /// The manifest names a blob that is not there.
    ManifestBlobUnknown,
    /// An answer that this request never has.
    Unexpected,
}

impl Refusal {
    /// Reads status, error code and words: the class table's left column.
    #[must_use]
    pub fn of(status: u16, code: Option<&OciErrorCode>, words: &str) -> Self {
        let words = words.to_ascii_lowercase();
        let read_only = ["read only", "read-only", "readonly"].iter().any(|word| words.contains(word));
        match (status, code.map(code_name).as_deref()) {
            (400 | 404, Some("MANIFEST_BLOB_UNKNOWN")) => Self::ManifestBlobUnknown,
            (400, Some("BLOB_UNKNOWN")) => Self::ManifestBlobUnknown,
            (401, _) => Self::Unauthorized,
            (403 | 405, _) if read_only => Self::ReadOnly,
            (403 | 413 | 507, _) if is_quota(&words) => Self::Quota,
            (403, _) => Self::Forbidden,
            (404, _) => Self::NotFound,
            (412, Some("PROJECTPOLICYVIOLATION")) => Self::ScanPending,
            (412, _) => Self::Immutable,
            (400, Some("TAG_INVALID")) if words.contains("immutable") => Self::Immutable,
            (413, _) => Self::TooLarge,
            (429, _) => Self::Throttled,
            (400 | 422, Some("MANIFEST_INVALID")) => Self::InvalidManifest,
            (501 | 505, _) => Self::Unexpected,
            (408 | 409 | 425 | 500..=599, _) => Self::Unavailable,
            _ => Self::Unexpected,
        }
    }

    /// Reads what a token realm answers to an identity token. Spec: RFC 6749, section 5.2.
    fn of_exchange(status: u16, body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Said {
            error: String,
        }
        let said = serde_json::from_slice(body).map(|said: Said| said.error);
        match (status, said.as_deref()) {
            (400, Ok("unsupported_grant_type")) | (404 | 405 | 415 | 501, _) => Self::NoExchange,
            (400, Ok("invalid_scope")) => Self::Forbidden,
            (400 | 401, _) => Self::IdentityToken,
            _ => Self::of(status, None, ""),
        }
    }

    /// The class. `retry_after` is what the registry asked for.
    #[must_use]
    pub const fn class(self, retry_after: Option<Duration>) -> ErrorClass {
        match self {
            Self::Unavailable | Self::ReadOnly | Self::ManifestBlobUnknown => ErrorClass::BACKOFF,
            Self::Throttled => ErrorClass::Transient(Retry::Throttled { after: retry_after }),
            Self::ScanPending => ErrorClass::Transient(Retry::ScanPending),
            Self::Unauthorized
            | Self::IdentityToken
            | Self::NoExchange
            | Self::Forbidden
            | Self::Quota
            | Self::Immutable
            | Self::InvalidManifest
            | Self::TooLarge
            | Self::NotFound
            | Self::Unexpected => ErrorClass::Permanent,
        }
    }

    /// Whether asking again within seconds can help.
    #[must_use]
    pub const fn is_retried_in_place(self) -> bool {
        matches!(self, Self::Unavailable | Self::ReadOnly | Self::Throttled)
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Unavailable => "the registry is out of order for now",
            Self::ReadOnly => "the registry is read-only for now",
            Self::Throttled => "too many requests for now",
            Self::ScanPending => "the project's policy holds the image back until it is scanned or signed",
            Self::Unauthorized => {
                "the login is not accepted: check its name, password and expiry, that the project exists, and its \
                 right to pull and push"
            }
            Self::IdentityToken => {
                "the identity token that docker has kept for this registry is not accepted any more: log in to it again \
                 (`docker login`)"
            }
            Self::NoExchange => {
                "the registry's token realm exchanges no identity tokens: log in to it with a name and a password"
            }
            Self::Forbidden => {
                "the login lacks this right: it needs pull on the source and pull and push on the target"
            }
            Self::Quota => "the project's storage quota is used up: raise it or delete artifacts",
            Self::Immutable => "the tag may not be changed: take it out of the project's immutability rules",
            Self::InvalidManifest => "the registry does not accept this manifest",
            Self::TooLarge => "the body is too large: look at the limits of the registry and of the proxies before it",
            Self::NotFound => "it is not there",
            Self::ManifestBlobUnknown => "a blob of the manifest is not in the registry",
            Self::Unexpected => "that is no answer to this request: is this a registry?",
        }
    }
}

fn is_quota(words: &str) -> bool {
    words.contains("quota") || words.contains("will exceed") || words.contains("storage limit")
}

/// An answer that says no.
#[derive(Debug)]
pub struct Refused {
    /// What was being done.
    pub action: Action,
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub refusal: Refusal,
    /// The registry's own error code.
    pub code: Option<OciErrorCode>,
    /// The registry's own words: at most 300 characters, control characters escaped.
    pub words: String,
    /// What its Retry-After header asked for.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// Reads an answer that says no to a request that was sent with `sent`. `body` is the beginning of its body.
    pub(crate) fn new(
        action: Action,
        status: u16,
        body: &[u8],
        retry_after: Option<Duration>,
        sent: &SentAuthorization,
    ) -> Self {
        if let ("POST", Object::Token) = (action.method, &action.object) {
            // The words may repeat the identity token.
            let refusal = Refusal::of_exchange(status, body);
            return Self { action, status, refusal, code: None, words: String::new(), retry_after };
        }
        let (code, words) = read_envelope(body);
        let refusal = match (action.method, Refusal::of(status, code.as_ref(), &words)) {
            // Reading changes no tag: this is the policy, and a HEAD has no body to say so.
            ("GET" | "HEAD", Refusal::Immutable) => Refusal::ScanPending,
            (_, refusal) => refusal,
        };
        // What is no code of any registry is no help either.
        let code = code.filter(|code| !sent.is_in(&code_name(code)));
        Self { action, status, refusal, code, words: bounded(&sent.hidden_in(words)), retry_after }
    }

    /// The error, by what was not there.
    pub(crate) fn into_error(self) -> RegistryError {
        let refused = Box::new(self);
        match (refused.refusal, &refused.action.object) {
            (Refusal::ManifestBlobUnknown, _) => RegistryError::ManifestBlobUnknown(refused),
            (Refusal::NotFound, Object::Manifest(_)) => RegistryError::ManifestNotFound(refused),
            (Refusal::NotFound, Object::Blob(_)) => RegistryError::BlobNotFound(refused),
            _ => RegistryError::Refused(refused),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: status {}", self.action, self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {}", bounded(&code_name(code)))?;
        }
        write!(f, ", {}", self.refusal.hint())?;
        if self.words.is_empty() { Ok(()) } else { write!(f, " (the registry says: {})", self.words) }
    }
}

/// The first error's code, and all errors' words. A body that is no envelope gives its first characters, unless it
/// is a page.
fn read_envelope(body: &[u8]) -> (Option<OciErrorCode>, String) {
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) else {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        return (None, if text.starts_with(['<', '{']) { String::new() } else { text.to_owned() });
    };
    let words = envelope.errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
    (envelope.errors.into_iter().next().map(|error| error.code), words)
}

/// The code as the wire writes it.
fn code_name(code: &OciErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// `text` on one line of bounded length.
pub(crate) fn bounded(text: &str) -> String {
    let line = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let mut out: String = text.chars().take(MAX_WORDS).map(line).collect();
    if text.chars().nth(MAX_WORDS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of error classes, and what Harbor and distribution say besides.
    #[test]
    fn every_row_of_the_class_table_has_its_class() {
        let backoff = ErrorClass::BACKOFF;
        let throttled = ErrorClass::Transient(Retry::Throttled { after: Some(Duration::from_secs(7)) });
        let scan = ErrorClass::Transient(Retry::ScanPending);
        let rows = [
            (408, "", "", Refusal::Unavailable, backoff),
            (409, "CONFLICT", "", Refusal::Unavailable, backoff),
            (425, "", "", Refusal::Unavailable, backoff),
            (500, "UNKNOWN", "", Refusal::Unavailable, backoff),
            (502, "", "<html>", Refusal::Unavailable, backoff),
            (503, "", "", Refusal::Unavailable, backoff),
            (504, "", "", Refusal::Unavailable, backoff),
            (
                403,
                "DENIED",
                "The system is in read only mode. Any modification is prohibited.",
                Refusal::ReadOnly,
                backoff,
            ),
            (405, "UNSUPPORTED", "registry is read-only", Refusal::ReadOnly, backoff),
            (429, "TOOMANYREQUESTS", "slow down", Refusal::Throttled, throttled),
            (412, "PROJECTPOLICYVIOLATION", "not scanned", Refusal::ScanPending, scan),
            (401, "UNAUTHORIZED", "", Refusal::Unauthorized, ErrorClass::Permanent),
            (403, "DENIED", "can not push artifact to a proxy project", Refusal::Forbidden, ErrorClass::Permanent),
            (403, "FORBIDDEN", "", Refusal::Forbidden, ErrorClass::Permanent),
            (
                403,
                "DENIED",
                "adding 1.0 GiB of storage resource, which when updated to current usage of 1 will exceed",
                Refusal::Quota,
                ErrorClass::Permanent,
            ),
            (404, "MANIFEST_UNKNOWN", "", Refusal::NotFound, ErrorClass::Permanent),
            (412, "PRECONDITION", "immutable", Refusal::Immutable, ErrorClass::Permanent),
            (400, "MANIFEST_INVALID", "", Refusal::InvalidManifest, ErrorClass::Permanent),
            (413, "REQUEST_ENTITY_TOO_LARGE", "", Refusal::TooLarge, ErrorClass::Permanent),
            (400, "MANIFEST_BLOB_UNKNOWN", "", Refusal::ManifestBlobUnknown, backoff),
            (404, "MANIFEST_BLOB_UNKNOWN", "", Refusal::ManifestBlobUnknown, backoff),
            (501, "", "", Refusal::Unexpected, ErrorClass::Permanent),
            (418, "", "", Refusal::Unexpected, ErrorClass::Permanent),
            (302, "", "", Refusal::Unexpected, ErrorClass::Permanent),
        ];
        for (status, code, words, refusal, class) in rows {
            let code = (!code.is_empty()).then(|| serde_json::from_value(code.into()).unwrap());
            let found = Refusal::of(status, code.as_ref(), words);
            assert_eq!(found, refusal, "{status} {code:?} {words}");
            assert_eq!(found.class(Some(Duration::from_secs(7))), class, "{status} {code:?} {words}");
        }
    }

    #[test]
    fn an_identity_token_that_is_refused_says_what_to_do_and_not_what_it_was() {
        let again = "log in to it again";
        let rows = [
            (400, r#"{"error":"invalid_grant","error_description":"hunter2"}"#, Refusal::IdentityToken, again),
            (400, "hunter2", Refusal::IdentityToken, again),
            (401, r#"{"errors":[{"code":"hunter2","message":"hunter2"}]}"#, Refusal::IdentityToken, again),
            (400, r#"{"error":"unsupported_grant_type"}"#, Refusal::NoExchange, "a name and a password"),
            (404, "404 page not found", Refusal::NoExchange, "a name and a password"),
            (405, "", Refusal::NoExchange, "a name and a password"),
            (400, r#"{"error":"invalid_scope"}"#, Refusal::Forbidden, "lacks this right"),
            (403, r#"{"errors":[{"code":"DENIED","message":"hunter2"}]}"#, Refusal::Forbidden, "lacks this right"),
            (429, "hunter2", Refusal::Throttled, "too many"),
            (503, "hunter2", Refusal::Unavailable, "out of order"),
        ];
        for (status, body, refusal, hint) in rows {
            let (host, repository) = ("h.example".to_owned(), "p/r".to_owned());
            let action = Action { method: "POST", host, repository, object: Object::Token };
            let refused = Refused::new(action, status, body.as_bytes(), None, &SentAuthorization::default());
            assert_eq!(refused.refusal, refusal, "{status} {body}");
            let printed = format!("{refused} {refused:?}");
            assert!(printed.contains(hint) && !printed.contains("hunter2"), "{printed}");
        }
    }

    #[test]
    fn an_answer_that_repeats_the_login_as_code_or_words_does_not_say_it() {
        let header = reqwest::header::HeaderValue::from_static("Bearer hunter2");
        let sent = SentAuthorization::new(Some(&header));
        for body in [
            r#"{"errors":[{"code":"hunter2","message":"x"}]}"#,
            r#"{"errors":[{"code":"NOT_hunter2","message":"hunter2"}]}"#,
            "hunter2",
        ] {
            let (host, repository) = ("h.example".to_owned(), "p/r".to_owned());
            let action = Action { method: "GET", host, repository, object: Object::Manifest("1".to_owned()) };
            let refused = Refused::new(action, 403, body.as_bytes(), None, &sent);
            assert_eq!(refused.refusal, Refusal::Forbidden, "{body}");
            let printed = format!("{refused} {refused:?}");
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }

    #[test]
    fn reads_envelopes_and_what_is_none() {
        let rows = [
            (r#"{"errors":[{"code":"DENIED","message":"a"},{"code":"X","message":"b"}]}"#, Some("DENIED"), "a; b"),
            (r#"{"errors":[{"code":"HARBOR_ONLY"}]}"#, Some("HARBOR_ONLY"), ""),
            (r#"{"errors":[]}"#, None, ""),
            (r#"{"message":"x"}"#, None, ""),
            ("<html>", None, ""),
            (" busy \n", None, "busy"),
            ("", None, ""),
        ];
        for (body, code, words) in rows {
            let (found, said) = read_envelope(body.as_bytes());
            assert_eq!((found.as_ref().map(code_name).as_deref(), said.as_str()), (code, words), "{body}");
        }
    }

    #[test]
    fn words_are_bounded_and_stay_on_one_line() {
        assert_eq!(bounded("a\nb\u{1b}[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(bounded(&"x".repeat(10_000)).chars().count(), MAX_WORDS + 1);
    }
}
