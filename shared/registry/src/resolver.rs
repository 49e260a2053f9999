//! Name resolution that looks at the addresses it gives: a name can point anywhere, and later somewhere else.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::policy::{Denied, Policy};

/// Resolves names for one registry's client.
pub(crate) struct Resolver {
    policy: Policy,
    /// The proxy's name: with a proxy it is the only one that is resolved here.
    proxy: Option<String>,
}

impl Resolver {
    pub(crate) const fn new(policy: Policy, proxy: Option<String>) -> Self {
        Self { policy, proxy }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let trusted = self.policy.is_trusted(&name) || self.proxy.as_ref() == Some(&name);
        let policy = self.policy.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                let checked = policy.check_address(address.ip(), trusted);
                checked.map_err(|reason| Denied { target: name.clone(), reason: reason.to_owned() })?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostSettings;

    async fn resolves(host: &str, name: &str) -> bool {
        let resolver = Resolver::new(Policy::new(&HostSettings::new(host)).unwrap(), None);
        resolver.resolve(name.parse().unwrap()).await.is_ok()
    }

    #[tokio::test]
    async fn a_name_on_loopback_is_for_hosts_on_loopback() {
        assert!(resolves("localhost:5000", "localhost").await);
        assert!(resolves("127.0.0.1:5000", "localhost").await);
        assert!(!resolves("h.example", "localhost").await);
    }
}
