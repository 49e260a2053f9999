//! One registry's HTTP client: a request goes out with our headers, our authentication and our limits.

use std::time::Instant;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::redirect;
use reqwest::{Client, Method, Proxy, Url};

use crate::answer::Answer;
use crate::auth::Auth;
use crate::error::{Action, RegistryError};
use crate::policy::{Denied, Policy};
use crate::registries::Mismatches;
use crate::resolver::Resolver;
use crate::retry::Backoff;
use crate::sent_authorization::SentAuthorization;
use crate::token::Scope;
use crate::{HostSettings, Retries, Timeouts, tls};

const USER_AGENT: &str = concat!("accel/", env!("CARGO_PKG_VERSION"));
/// Blob storage is one hop away, sometimes two.
const MAX_REDIRECTS: u32 = 5;

/// One configured registry.
pub(crate) struct Host {
    /// As its settings name it.
    pub(crate) name: String,
    pub(crate) policy: Policy,
    client: Client,
    auth: Auth,
    pub(crate) mismatches: Mismatches,
    timeouts: Timeouts,
    retries: Retries,
}

/// A request, which can be sent more than once.
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
    /// What the token has to allow.
    pub(crate) scopes: Vec<Scope>,
    /// The statuses that the caller reads; any other is an error.
    pub(crate) expected: &'static [u16],
}

impl Host {
    /// A client for one host.
    ///
    /// # Errors
    /// [`RegistryError::Settings`]: name, certificates or proxy cannot be used.
    pub(crate) fn new(settings: &HostSettings, auth: Auth) -> Result<Self, RegistryError> {
        let fail = |reason| RegistryError::Settings { host: settings.host.clone(), reason };
        let policy = Policy::new(settings).map_err(fail)?;
        let client = client(settings, &policy).map_err(fail)?;
        Ok(Self {
            name: settings.host.clone(),
            policy,
            client,
            auth,
            mismatches: Mismatches::default(),
            timeouts: settings.timeouts,
            retries: settings.retries,
        })
    }

    pub(crate) const fn backoff(&self) -> Backoff {
        Backoff::new(self.retries)
    }

    /// Sends until there is an answer that the caller expects, or an error that waiting cannot help.
    pub(crate) async fn send_patiently(&self, request: &Request) -> Result<Answer, RegistryError> {
        let mut backoff = self.backoff();
        loop {
            match self.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    /// Sends once, authenticated; once more if the login is refused and there is another one now.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, RegistryError> {
        match self.send_authenticated(request).await {
            Err(error) if error.is_unauthorized() && self.auth.has_another_login(self, &request.action).await => {
                self.send_authenticated(request).await
            }
            done => done,
        }
    }

    /// Sends once, authenticated: a 401 is answered once with something fresh.
    async fn send_authenticated(&self, request: &Request) -> Result<Answer, RegistryError> {
        let used = self.auth.header(self, &request.action, &request.scopes).await?;
        let sent = Instant::now();
        let answer = self.exchange(request, used.as_ref()).await?;
        if answer.status() != 401 {
            return answer.expect(request.expected).await;
        }
        match self.auth.renew(self, &answer, &request.scopes, used.as_ref(), sent).await? {
            Some(fresh) => self.exchange(request, Some(&fresh)).await?.expect(request.expected).await,
            None => Err(answer.into_error().await),
        }
    }

    /// Sends a GET whose answer may be a redirect to blob storage, and follows it by hand, without credentials.
    pub(crate) async fn send_following(&self, request: &Request) -> Result<Answer, RegistryError> {
        let mut answer = self.send(request).await?;
        for _ in 0..MAX_REDIRECTS {
            if !answer.is_redirect() {
                return answer.expect(request.expected).await;
            }
            let location = answer.header(LOCATION).ok_or_else(|| answer.protocol("a redirect without a Location"))?;
            let url = self.policy.redirect(answer.url(), location).map_err(|denied| request.action.denied(denied))?;
            answer = self.exchange_at(request, url, None).await?;
        }
        Err(answer.protocol(format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Sends once, with `authorization` and nothing more.
    pub(crate) async fn exchange(
        &self,
        request: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        self.exchange_at(request, request.url.clone(), authorization).await
    }

    async fn exchange_at(
        &self,
        request: &Request,
        url: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        let mut headers: HeaderMap = request.headers.iter().cloned().collect();
        if let Some(value) = authorization {
            headers.insert(reqwest::header::AUTHORIZATION, value.clone());
        }
        let sent = SentAuthorization::new(headers.get(reqwest::header::AUTHORIZATION));
        let mut sending = self.client.request(request.method.clone(), url).headers(headers);
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        let action = &request.action;
        match tokio::time::timeout(self.timeouts.answer, sending.send()).await {
            Ok(Ok(response)) => Ok(Answer::new(response, action.clone(), sent, self.timeouts.idle)),
            Ok(Err(error)) => Err(send_error(action, error)),
            Err(_) => Err(RegistryError::TimedOut { action: Box::new(action.clone()), waited: self.timeouts.answer }),
        }
    }
}

/// Keep-alive, HTTP/2 where TLS agrees on it; no redirects, no decompression, no proxies and no secrets from the
/// environment. There is no time-out on the whole of a request.
fn client(settings: &HostSettings, policy: &Policy) -> Result<Client, String> {
    let proxy = settings.proxy.as_ref().map(|url| proxy(url.expose())).transpose()?;
    let proxy_name = proxy.as_ref().map(|(_, name)| name.clone());
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(settings.timeouts.connect)
        .dns_resolver(Resolver::new(policy.clone(), proxy_name))
        .tls_backend_preconfigured(tls::client_config(settings)?);
    if let Some((proxy, _)) = proxy {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| error.without_url().to_string())
}

/// The proxy and its name. The messages do not repeat the URL, which may hold a password.
fn proxy(url: &str) -> Result<(Proxy, String), String> {
    let bad = || "its proxy is not an http:// or https:// URL".to_owned();
    let parsed: Url = url.parse().map_err(|_| bad())?;
    let name = parsed.host_str().filter(|_| matches!(parsed.scheme(), "http" | "https")).ok_or_else(bad)?.to_owned();
    Ok((Proxy::all(parsed).map_err(|_| bad())?, name))
}

/// The error of a request that had no answer: a refused address and a refused certificate will not get better.
fn send_error(action: &Action, error: reqwest::Error) -> RegistryError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(denied) = error.downcast_ref::<Denied>() {
            return action.denied(denied.clone());
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return tls_error(action, tls);
        }
        cause = cause_of(error);
    }
    RegistryError::Network { action: Box::new(action.clone()), source: error.into() }
}

/// An I/O error does not list as its source what it was made of.
fn cause_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn tls_error(action: &Action, error: &rustls::Error) -> RegistryError {
    let hint = match error {
        rustls::Error::InvalidCertificate(_) => ": if its authority is your own, configure it as `ca_file`",
        rustls::Error::InvalidMessage(_) => ": if it speaks plain HTTP, it has to be configured as `plain_http`",
        _ => "",
    };
    action.tls(format!("{error}{hint}"))
}

impl Action {
    pub(crate) fn denied(&self, denied: Denied) -> RegistryError {
        RegistryError::Address { action: Box::new(self.clone()), target: denied.target, reason: denied.reason }
    }

    pub(crate) fn protocol(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::Protocol { action: Box::new(self.clone()), reason: reason.into() }
    }

    fn tls(&self, reason: String) -> RegistryError {
        RegistryError::Tls { action: Box::new(self.clone()), reason }
    }
}
