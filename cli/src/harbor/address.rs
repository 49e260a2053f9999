//! What is named on the command line: a Harbor, its projects, and Accel's webhook.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use reqwest::Url;
use serde::Serialize;

use crate::api::{Address, bare_url};

/// The path of Accel's webhook, behind whatever a front door puts before it.
pub(super) const WEBHOOK_PATH: &str = "/api/v1/conversions";

/// Where a Harbor is. HTTPS, unless `http://` is written out.
#[derive(Debug, Clone)]
pub(super) struct HarborAddress(pub(super) Address);

impl FromStr for HarborAddress {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let written = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        Ok(Self(written.parse()?))
    }
}

/// A project of a Harbor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Project(String);

impl Project {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Project {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if text.is_empty() || text.len() > 255 || !text.chars().all(fits) {
            bail!("a project is named without registry and repository: lower case letters, digits and . _ -");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Accel's webhook, as Harbor reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookUrl(Url);

impl WebhookUrl {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl FromStr for WebhookUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The secret goes into the Authorization header, not into the URL.
        let url = bare_url(text, &format!("https://HOST{WEBHOOK_PATH}"))?;
        if !url.path().ends_with(WEBHOOK_PATH) {
            bail!("Accel's webhook ends in {WEBHOOK_PATH}");
        }
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harbor_is_spoken_to_in_plain_http_only_where_that_is_written() {
        let rows = [
            ("harbor.example.com", Some("https://harbor.example.com")),
            ("localhost:8443", Some("https://localhost:8443")),
            ("https://harbor.example.com/", Some("https://harbor.example.com")),
            ("http://harbor.example.com", Some("http://harbor.example.com")),
            ("https://admin:secret@harbor.example.com", None),
            ("ftp://harbor.example.com", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let address = text.parse::<HarborAddress>().ok().map(|address| address.0.to_string());
            assert_eq!(address.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_webhook_is_accels() {
        let rows = [
            ("https://accel.example.com/api/v1/conversions", true),
            ("http://10.0.0.1:2077/api/v1/conversions", true),
            ("https://x.execute-api.eu-west-1.amazonaws.com/Prod/api/v1/conversions", true),
            ("https://accel.example.com", false),
            ("https://accel.example.com/api/v1/conversions?token=x", false),
            ("https://u:p@accel.example.com/api/v1/conversions", false),
            ("ftp://accel.example.com/api/v1/conversions", false),
            ("accel.example.com", false),
        ];
        for (text, good) in rows {
            assert_eq!(text.parse::<WebhookUrl>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn a_project_is_a_name() {
        for (text, good) in
            [("library", true), ("a.b_c-1", true), ("a/b", false), ("Up", false), ("", false), ("?", false)]
        {
            assert_eq!(text.parse::<Project>().is_ok(), good, "{text}");
        }
    }
}
