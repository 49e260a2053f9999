//! Registries repeat in errors what they were sent, and their words are kept in reasons and logs: what was shown to be
//! let in is taken out of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

const HIDDEN: &str = "***";
/// What is shorter is in any text, and no secret.
const LEAST_CHARS: usize = 4;

/// The Authorization header that a request was sent with.
#[derive(Default)]
pub(crate) struct SentAuthorization(Option<HeaderValue>);

impl SentAuthorization {
    pub(crate) fn new(authorization: Option<&HeaderValue>) -> Self {
        Self(authorization.cloned())
    }

    /// Whether `text` holds the header's token or login.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.hidden_in(text.to_owned()) != text
    }

    /// `words` without the header's token or login, in the header's form or in clear.
    pub(crate) fn hidden_in(&self, words: String) -> String {
        let Some(header) = self.0.as_ref().and_then(|header| header.to_str().ok()) else { return words };
        let sent = header.split_once(' ').map_or(header, |(_, sent)| sent);
        let login = STANDARD.decode(sent).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let password = login.as_deref().and_then(|login| Some(login.split_once(':')?.1));
        let secrets = [Some(sent), login.as_deref(), password];
        secrets.into_iter().flatten().filter(|secret| secret.chars().count() >= LEAST_CHARS).fold(
            words,
            |words, secret| {
                if words.contains(secret) { words.replace(secret, HIDDEN) } else { words }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_hidden_and_nothing_else() {
        let basic = format!("Basic {}", STANDARD.encode("robot$a:pass:word"));
        let rows = [
            (Some("Bearer t0ken"), "t0ken is too old, t0ken!", "*** is too old, ***!"),
            (Some(basic.as_str()), "robot$a:pass:word is wrong", "*** is wrong"),
            (Some(&basic), "robot$a with pass:word is wrong", "robot$a with *** is wrong"),
            (Some(&basic), &format!("{basic} may not"), "Basic *** may not"),
            (Some("Bearer abc"), "abc is no secret", "abc is no secret"),
            (None, "t0ken", "t0ken"),
        ];
        for (header, words, expected) in rows {
            let header = header.map(|header| HeaderValue::from_str(header).unwrap());
            assert_eq!(SentAuthorization::new(header.as_ref()).hidden_in(words.to_owned()), expected);
        }
    }
}
