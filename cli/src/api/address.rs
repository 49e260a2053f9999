//! Where a server is. Plain HTTP is spoken to this machine, or where a person has written so.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use reqwest::Url;

/// Where `accelctl serve` listens unless it is told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "localhost:2077";
const DEFAULT_PORT: u16 = 2077;

/// The address of a server, with the path before `api/`, if there is one. It ends in a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    /// The URL of `path`, which is relative.
    pub(crate) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", url.path()));
        url
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, and its port if it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether the server is on this machine, by its name.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || host.ends_with(".localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let has_scheme = text.contains("://");
        let written = if has_scheme { text.to_owned() } else { format!("http://{text}") };
        let mut url = bare_url(&written, "host:port, http://host:port or https://host")?;
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        if has_scheme {
            return Ok(Self(url));
        }
        // `host:80` too is without a port for http://.
        if url.port().is_none() && !text.split('/').next().is_some_and(|authority| authority.ends_with(":80")) {
            url.set_port(Some(DEFAULT_PORT)).map_err(|()| anyhow::anyhow!("write host:port"))?;
        }
        let address = Self(url);
        if !address.is_loopback() {
            bail!("{text} is another machine: write https://{text}, or http://{text} if it speaks plain HTTP");
        }
        Ok(address)
    }
}

/// A URL of HTTP that says where, and no more. `form` is what it should look like.
pub(crate) fn bare_url(text: &str, form: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().with_context(|| format!("write {form}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("only http:// and https:// are spoken");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        bail!("write {form}, without user, query and fragment");
    }
    Ok(url)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_or_where_it_is_written() {
        let rows = [
            (DEFAULT_ADDRESS, Some("http://localhost:2077")),
            ("localhost", Some("http://localhost:2077")),
            ("127.0.0.1:80", Some("http://127.0.0.1")),
            ("[::1]:9", Some("http://[::1]:9")),
            ("http://accel.example.com:2077", Some("http://accel.example.com:2077")),
            ("https://accel.example.com", Some("https://accel.example.com")),
            ("https://x.example/Prod", Some("https://x.example/Prod")),
            ("accel.example.com:2077", None),
            ("10.0.0.1:2077", None),
            ("localhost.example:1", None),
            ("http://u:p@localhost", None),
            ("ftp://localhost", None),
            ("http://localhost?x", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Address>().ok().map(|a| a.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn keeps_the_path_of_a_front_door() {
        for (text, url) in
            [("localhost:1", "http://localhost:1/api/x"), ("https://h.example/Prod/", "https://h.example/Prod/api/x")]
        {
            assert_eq!(text.parse::<Address>().unwrap().join("api/x").as_str(), url);
        }
    }
}
