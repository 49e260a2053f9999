//! Options by which every command reaches registries, and the ends that they open.

use std::convert::Infallible;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use accel_converter::hosts::{self, ConfiguredLogins};
use accel_domain::Secret;
use accel_domain::config::Config;
use accel_image::Reference;
use accel_registry::{Credentials, End, HostSettings, Login, LoginFuture, Registries};
use accel_runtime::Secrets;
use accel_stream::Limits;
use anyhow::{Context as _, bail};
use clap::Args;
use futures::future::BoxFuture;

use crate::docker::DockerLogins;
use crate::exit::WrongUsage;
use crate::https;
use crate::place::Place;

/// How registries are reached. Without a login of its own, docker's logins and credential helpers are used.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// Reach registries as this configuration says. Its rules are not looked at, and a host named on the command line
    /// need not stand in it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Speak plain HTTP to this host; may be repeated. Nothing else is ever spoken to in plain HTTP.
    #[arg(long, value_name = "HOST[:PORT]")]
    plain_http: Vec<String>,
    /// A certificate file (PEM) to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Reach registries through this HTTP proxy, whatever the configuration says. HTTPS_PROXY and the like are not
    /// looked at. A password belongs into --config, as a reference: the arguments of a process are for all to see.
    #[arg(long, value_name = "URL", value_parser = secret)]
    proxy: Option<Secret>,
    /// Log in with this name, at every registry of the command.
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

/// What a command reads and writes.
pub(crate) struct Ends {
    registries: Registries,
    config: Option<Arc<Config>>,
}

impl ConnectArgs {
    /// Clients for the registries of `places`, which a person has named, and for no others.
    pub(crate) async fn open(&self, places: &[&Place]) -> anyhow::Result<Ends> {
        let config = self.config.as_deref().map(|file| accel_runtime::config::load(Some(file)).map(Arc::new));
        let config = config.transpose()?;
        let mut named: Vec<&str> = places.iter().filter_map(|place| registry(place)).map(Reference::host).collect();
        named.sort_unstable();
        named.dedup();
        self.check_plain_http(&named)?;
        let secrets = Arc::new(Secrets::default());
        let mut settings: Vec<HostSettings> = Vec::new();
        for host in named {
            let found = self.settings(host, config.as_deref(), &secrets).await?;
            if settings.iter().all(|known| known.host != found.host) {
                settings.push(found);
            }
        }
        let logins = Logins {
            named: self
                .username
                .as_ref()
                .map(|name| password().map(|password| Login::password(name, password)))
                .transpose()?,
            configured: config.clone().map(|config| ConfiguredLogins::new(config, secrets)),
            docker: DockerLogins::from_environment(),
        };
        Ok(Ends { registries: Registries::new(settings, Arc::new(logins))?, config })
    }

    /// The settings of `host`: the configuration's if it is there, and what the command line adds.
    async fn settings(&self, host: &str, config: Option<&Config>, secrets: &Secrets) -> anyhow::Result<HostSettings> {
        let configured = config.and_then(|config| Some((config, config.host_of(host)?)));
        let mut settings = match configured {
            Some((config, name)) => hosts::settings(config, name, secrets).await?,
            None => HostSettings::new(host),
        };
        settings.plain_http |= self.plain_http.iter().any(|named| named == host);
        if let Some(ca_pem) = https::authorities(self.ca_file.as_deref())? {
            settings.ca_pem = Some(ca_pem);
        }
        if let Some(proxy) = &self.proxy {
            settings.proxy = Some(proxy.clone());
        }
        Ok(settings)
    }

    /// A host that is misspelt would be spoken to over TLS, and the error would not say why.
    fn check_plain_http(&self, named: &[&str]) -> anyhow::Result<()> {
        match self.plain_http.iter().find(|host| !named.contains(&host.as_str())) {
            Some(host) => {
                let at = if named.is_empty() { "no registry".to_owned() } else { named.join(", ") };
                Err(WrongUsage(format!("--plain-http {host}: the images of this command are at {at}")).into())
            }
            None => Ok(()),
        }
    }
}

impl Ends {
    /// The end at `place`, to be read from.
    pub(crate) async fn source(&self, place: &Place) -> anyhow::Result<End> {
        Ok(match place {
            Place::Registry(reference) => self.registries.repository(reference)?.into(),
            Place::Layout(name) => End::Layout(name.open().await?),
        })
    }

    /// The end at `place`, to be written to. A new archive is there once [`finish`] has been called.
    pub(crate) async fn target(&self, place: &Place) -> anyhow::Result<End> {
        Ok(match place {
            Place::Registry(reference) => self.registries.repository(reference)?.into(),
            Place::Layout(name) => End::Layout(name.create().await?),
        })
    }

    /// What a layer at `place` may cost.
    pub(crate) fn limits(&self, place: &Place) -> Limits {
        let host = registry(place).and_then(|reference| self.registries.host_name(reference.host()));
        match (&self.config, host) {
            (Some(config), Some(host)) => hosts::limits(config, host),
            _ => Limits::default(),
        }
    }
}

/// Completes what was written to `end`.
pub(crate) async fn finish(end: &End) -> anyhow::Result<()> {
    match end {
        End::Registry(_) => Ok(()),
        End::Layout(layout) => Ok(layout.finish().await?),
    }
}

/// Logins: the one that was named, else the configuration's, else docker's.
struct Logins {
    named: Option<Login>,
    configured: Option<ConfiguredLogins>,
    docker: DockerLogins,
}

impl Credentials for Logins {
    fn login<'a>(&'a self, host: &'a str, repository: &'a str) -> LoginFuture<'a> {
        Box::pin(async move {
            if self.named.is_some() {
                return Ok(self.named.clone());
            }
            if let Some(configured) = &self.configured
                && let Some(login) = configured.login(host, repository).await?
            {
                return Ok(Some(login));
            }
            self.docker.login(host, repository).await
        })
    }

    fn renew<'a>(&'a self, host: &'a str, repository: &'a str) -> BoxFuture<'a, bool> {
        match &self.configured {
            Some(configured) if self.named.is_none() => configured.renew(host, repository),
            _ => Box::pin(std::future::ready(false)), // docker's logins are read whenever one is needed
        }
    }
}

fn registry(place: &Place) -> Option<&Reference> {
    match place {
        Place::Registry(reference) => Some(reference),
        Place::Layout(_) => None,
    }
}

/// Takes anything: what is wrong with it is said without repeating it.
#[expect(clippy::unnecessary_wraps, reason = "the form of a value parser")]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// The password, from standard input.
pub(crate) fn password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().take(64 << 10).read_to_string(&mut text).context("the password cannot be read")?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password came on standard input");
    }
    Ok(password.to_owned())
}
