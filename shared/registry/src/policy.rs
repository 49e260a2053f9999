//! Where requests and credentials may go. A registry is hostile until shown otherwise: its redirects, upload
//! locations and token realms are checked here before anything is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use crate::HostSettings;

/// Docker Hub's names. `docker.io` itself serves no registry API.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
const DOCKER_HUB_SERVER: &str = "registry-1.docker.io";
const DOCKER_HUB_REALM: &str = "auth.docker.io";

/// Why nothing is sent to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused to go on to {target}: {reason}")]
pub(crate) struct Denied {
    /// Scheme and host, or a name: never a path or a query.
    pub(crate) target: String,
    pub(crate) reason: String,
}

impl Denied {
    fn new(url: &Url, reason: impl Into<String>) -> Self {
        Self { target: url.origin().ascii_serialization(), reason: reason.into() }
    }

    fn malformed(what: &str) -> Self {
        Self { target: what.to_owned(), reason: "it is not a URL".to_owned() }
    }
}

/// What may be done for one registry.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// `https://host:port/`.
    base: Url,
    realms: Vec<String>,
}

/// The names under which a registry is found besides its own.
pub(crate) fn aliases(settings: &HostSettings) -> impl Iterator<Item = &str> {
    let hub: &[&str] = if settings.host == DOCKER_HUB { &DOCKER_HUB_ALIASES } else { &[] };
    settings.aliases.iter().map(String::as_str).chain(hub.iter().copied())
}

impl Policy {
    /// The policy of a configured host.
    ///
    /// # Errors
    /// The host is not a `name` or `name:port`.
    pub(crate) fn new(settings: &HostSettings) -> Result<Self, String> {
        let hub = settings.host == DOCKER_HUB;
        let server = if hub { DOCKER_HUB_SERVER } else { &settings.host };
        let scheme = if settings.plain_http { "http" } else { "https" };
        let bad = || format!("`{server}` is not a host or host:port");
        let base: Url = format!("{scheme}://{server}/").parse().map_err(|_| bad())?;
        let plain = base.username().is_empty() && base.password().is_none() && base.path() == "/";
        if !plain || base.query().is_some() || base.fragment().is_some() || server.contains('/') {
            return Err(bad());
        }
        let mut realms = settings.token_realms.clone();
        if hub {
            realms.push(DOCKER_HUB_REALM.to_owned());
        }
        Ok(Self { base, realms })
    }

    /// `https://host:port/`.
    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    /// Whether a name was configured by a person: it may resolve to loopback and private addresses.
    pub(crate) fn is_trusted(&self, name: &str) -> bool {
        let named = |realm: &String| realm.split(':').next() == Some(name);
        self.base.host_str() == Some(name) || self.realms.iter().any(named)
    }

    /// Whether the registry itself runs on this machine, by its configured name.
    pub(crate) fn is_on_loopback(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || host.ends_with(".localhost") || literal.is_ok_and(|ip| ip.is_loopback())
    }

    /// Where an upload goes on. Always the registry's own origin: a registry behind a proxy may not know whether it
    /// is reached over TLS, so its path and query are taken and our scheme is kept.
    ///
    /// # Errors
    /// Another host.
    pub(crate) fn upload_location(&self, current: &Url, location: &str) -> Result<Url, Denied> {
        let target = current.join(location).map_err(|_| Denied::malformed("its upload location"))?;
        let same_port = target.port_or_known_default() == self.base.port_or_known_default();
        let both_default = target.port().is_none() && self.base.port().is_none();
        let http = matches!(target.scheme(), "http" | "https");
        if !http || target.host() != self.base.host() || !(same_port || both_default) {
            return Err(Denied::new(&target, "uploads stay on the registry's own host"));
        }
        let mut url = self.base.clone();
        url.set_path(target.path());
        url.set_query(target.query());
        Ok(url)
    }

    /// Where a blob is read instead, without credentials.
    ///
    /// # Errors
    /// Plain HTTP where the registry was asked over TLS, another scheme, link-local and metadata addresses, loopback.
    pub(crate) fn redirect(&self, current: &Url, location: &str) -> Result<Url, Denied> {
        let target = current.join(location).map_err(|_| Denied::malformed("its redirect"))?;
        self.check_unlisted(&target)?;
        Ok(target)
    }

    /// The realm that a challenge names, and whether it may be given a login.
    ///
    /// # Errors
    /// As for a redirect.
    pub(crate) fn realm(&self, text: &str) -> Result<(Url, bool), Denied> {
        let realm: Url = text.parse().map_err(|_| Denied::malformed("its token realm"))?;
        let own =
            realm.host() == self.base.host() && realm.port_or_known_default() == self.base.port_or_known_default();
        let listed = self.realms.iter().any(|name| is_at(&realm, name));
        if !(own || listed) {
            self.check_unlisted(&realm)?;
        }
        self.check_scheme(&realm)?;
        Ok((realm, own || listed))
    }

    fn check_scheme(&self, target: &Url) -> Result<(), Denied> {
        match target.scheme() {
            "https" => Ok(()),
            "http" if self.base.scheme() == "http" => Ok(()),
            "http" => Err(Denied::new(target, "it is plain HTTP, and the registry is configured for HTTPS")),
            _ => Err(Denied::new(target, "it is not HTTPS")),
        }
    }

    fn check_unlisted(&self, target: &Url) -> Result<(), Denied> {
        self.check_scheme(target)?;
        let host = target.host_str().unwrap_or_default();
        let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() else { return Ok(()) }; // the resolver checks
        let same = target.host() == self.base.host();
        self.check_address(ip, same).map_err(|reason| Denied::new(target, reason))
    }

    /// Whether a connection to `ip` may be made. `trusted`: a person configured the name.
    pub(crate) fn check_address(&self, ip: IpAddr, trusted: bool) -> Result<(), &'static str> {
        match reach(ip) {
            Reach::Ordinary => Ok(()),
            Reach::Loopback if trusted || self.is_on_loopback() => Ok(()),
            Reach::Loopback => Err("it is on this machine, and the registry is not"),
            Reach::Metadata => Err("it is a link-local or metadata address"),
        }
    }
}

/// Whether `url` is at `name` or `name:port`.
fn is_at(url: &Url, name: &str) -> bool {
    let full = format!("{}://{name}/", url.scheme());
    full.parse::<Url>().is_ok_and(|listed| {
        listed.host() == url.host() && listed.port_or_known_default() == url.port_or_known_default()
    })
}

/// How far an address reaches.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    Ordinary,
    Loopback,
    Metadata,
}

/// Addresses at which clouds answer with the machine's credentials, besides link-local ones.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => match embedded_v4(ip) {
            Some(inner) => reach_v4(inner),
            None if ip.is_loopback() || ip.is_unspecified() => Reach::Loopback,
            None if ip.is_unicast_link_local() || ip.is_multicast() || METADATA_V6.contains(&ip) => Reach::Metadata,
            None => Reach::Ordinary,
        },
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    if ip.is_loopback() || ip.octets()[0] == 0 {
        Reach::Loopback
    } else if ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || METADATA_V4.contains(&ip) {
        Reach::Metadata
    } else {
        Reach::Ordinary
    }
}

/// The IPv4 address inside of a NAT64 address (64:ff9b::/96).
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let [g1, g2] = g.to_be_bytes();
    let [h1, h2] = h.to_be_bytes();
    ([a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| Ipv4Addr::new(g1, g2, h1, h2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(host: &str, plain_http: bool, realms: &[&str]) -> Policy {
        let token_realms = realms.iter().map(|r| (*r).to_owned()).collect();
        Policy::new(&HostSettings { plain_http, token_realms, ..HostSettings::new(host) }).unwrap()
    }

    #[test]
    fn redirects_go_nowhere_they_must_not() {
        let tls = policy("h.example", false, &[]);
        let plain = policy("h.example:5000", true, &[]);
        let local = policy("127.0.0.1:5000", true, &[]);
        let rows = [
            (&tls, "https://s3.example/b?X-Sig=1", true),
            (&tls, "/other/path", true),
            (&tls, "http://s3.example/b", false),
            (&tls, "https://169.254.169.254/latest", false),
            (&tls, "https://[::ffff:169.254.169.254]/", false),
            (&tls, "https://[64:ff9b::a9fe:a9fe]/", false),
            (&tls, "https://[fd00:ec2::254]/", false),
            (&tls, "https://[fe80::1]/", false),
            (&tls, "https://127.0.0.1/", false),
            (&tls, "https://2130706433/", false),
            (&tls, "https://0.0.0.0/", false),
            (&tls, "https://[::1]/", false),
            (&tls, "https://10.0.0.1/", true),
            (&tls, "ftp://s3.example/b", false),
            (&plain, "http://minio.example:9000/b", true),
            (&plain, "https://minio.example/b", true),
            (&plain, "http://169.254.169.254/", false),
            (&local, "http://127.0.0.1:9000/b", true),
            (&local, "http://169.254.169.254/", false),
        ];
        for (policy, location, allowed) in rows {
            let answer = policy.redirect(&policy.base().join("v2/r/blobs/x").unwrap(), location);
            assert_eq!(answer.is_ok(), allowed, "{location}: {answer:?}");
        }
    }

    #[test]
    fn uploads_stay_on_the_registrys_origin() {
        let tls = policy("h.example", false, &[]);
        let port = policy("h.example:8443", false, &[]);
        let rows = [
            (&tls, "/v2/r/blobs/uploads/1?_state=a%3D", Some("https://h.example/v2/r/blobs/uploads/1?_state=a%3D")),
            (&tls, "https://h.example/u/1", Some("https://h.example/u/1")),
            (&tls, "http://h.example/u/1", Some("https://h.example/u/1")),
            (&tls, "https://h.example:8443/u/1", None),
            (&tls, "https://other.example/u/1", None),
            (&tls, "//other.example/u/1", None),
            (&port, "http://h.example:8443/u/1", Some("https://h.example:8443/u/1")),
            (&port, "http://h.example/u/1", None),
        ];
        for (policy, location, expected) in rows {
            let answer = policy.upload_location(policy.base(), location).ok();
            assert_eq!(answer.as_ref().map(Url::as_str), expected, "{location}");
        }
    }

    #[test]
    fn logins_go_to_the_host_itself_and_to_listed_realms() {
        let tls = policy("h.example", false, &["auth.example", "login.example:8443"]);
        let hub = policy("docker.io", false, &[]);
        let plain = policy("h.example:5000", true, &[]);
        let rows = [
            (&tls, "https://h.example/service/token", Some(true)),
            (&tls, "https://auth.example/token", Some(true)),
            (&tls, "https://auth.example:8443/token", Some(false)),
            (&tls, "https://login.example:8443/token", Some(true)),
            (&tls, "http://auth.example/token", None),
            (&tls, "http://h.example/service/token", None),
            (&tls, "https://evil.example/token", Some(false)),
            (&tls, "https://h.example.evil.example/token", Some(false)),
            (&tls, "https://169.254.169.254/token", None),
            (&hub, "https://auth.docker.io/token", Some(true)),
            (&plain, "http://h.example:5000/token", Some(true)),
            (&plain, "http://h.example:5001/token", Some(false)),
        ];
        for (policy, realm, expected) in rows {
            assert_eq!(policy.realm(realm).ok().map(|(_, login)| login), expected, "{realm}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_a_port_only() {
        for host in ["", "h.example/p", "user@h.example", "user:pw@h.example", "h.example?x", "h.example#x", "h:99999"]
        {
            assert!(Policy::new(&HostSettings::new(host)).is_err(), "{host}");
        }
        assert_eq!(policy("docker.io", false, &[]).base().as_str(), "https://registry-1.docker.io/");
        assert_eq!(policy("h.example:5000", true, &[]).base().as_str(), "http://h.example:5000/");
    }

    proptest::proptest! {
        /// Whatever a registry writes, an upload goes on at its own origin or not at all.
        #[test]
        fn no_location_leads_an_upload_away(location in "[ -~]{0,8}(https?:)?[/\\\\]{0,3}[ -~]{0,20}(h\\.example)?[ -~]{0,20}") {
            let tls = policy("h.example", false, &[]);
            if let Ok(url) = tls.upload_location(tls.base(), &location) {
                proptest::prop_assert_eq!(url.origin(), tls.base().origin());
                proptest::prop_assert!(url.username().is_empty() && url.password().is_none());
            }
        }

        /// Whatever number an address is, it is refused in all its spellings or in none.
        #[test]
        fn an_address_is_judged_the_same_in_every_spelling(bits in proptest::prelude::any::<u32>()) {
            let [a, b, c, d] = bits.to_be_bytes();
            let tls = policy("h.example", false, &[]);
            let allowed = |text: String| tls.redirect(tls.base(), &text).is_ok();
            let plain = allowed(format!("https://{a}.{b}.{c}.{d}/"));
            proptest::prop_assert_eq!(plain, allowed(format!("https://{bits}/")));
            proptest::prop_assert_eq!(plain, allowed(format!("https://0x{bits:x}/")));
            proptest::prop_assert_eq!(plain, allowed(format!("https://[::ffff:{a}.{b}.{c}.{d}]/")));
        }
    }
}
