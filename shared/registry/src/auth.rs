//! Authentication: challenges answered, tokens fetched, kept and renewed. Logins go to the registry's own host and to
//! its listed token realms only. Spec: distribution, "Token Authentication"; Harbor's ways are noted where they matter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Url};

use crate::answer::Answer;
use crate::challenge::{Bearer, Challenge};
use crate::error::{Action, Object, RegistryError};
use crate::token::{Grant, Scope, TokenAnswer};
use crate::transport::{Host, Request};
use crate::{Credentials, Login};

/// A token endpoint's answer is not larger than this.
const MAX_TOKEN_BYTES: u64 = 256 << 10;
/// Name and password are looked up again after this long, so that a rotation is seen.
const BASIC_LIFE: Duration = Duration::from_secs(300);

/// What one host has granted so far.
pub(crate) struct Auth {
    credentials: Arc<dyn Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    grants: Vec<Grant>,
    /// The last Bearer challenge. Harbor answers a token that has expired with a Basic challenge only.
    bearer: Option<Bearer>,
}

impl Auth {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header for a first try: one that was granted, or a token from the realm that the host named before, so
    /// that no 4 MiB body is sent only to be told to authenticate.
    pub(crate) async fn header(
        &self,
        host: &Host,
        action: &Action,
        scopes: &[Scope],
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let known = {
            let state = self.state();
            if let Some(grant) = state.grants.iter().find(|grant| grant.covers(scopes)) {
                return Ok(Some(grant.header.clone()));
            }
            state.bearer.clone()
        };
        match known {
            Some(bearer) => self.fetch_token(host, action, &bearer, scopes).await.map(Some),
            None => Ok(None),
        }
    }

    /// The header for the second try, after a 401 to a request that was sent at `sent` with `used`. `None` if there
    /// is nothing else to show.
    pub(crate) async fn renew(
        &self,
        host: &Host,
        answer: &Answer,
        scopes: &[Scope],
        used: Option<&HeaderValue>,
        sent: Instant,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let remembered = {
            let mut state = self.state();
            // Another request may have renewed it meanwhile; what is older than this request is as stale as ours.
            state.grants.retain(|grant| grant.issued > sent || !grant.covers(scopes));
            if let Some(grant) = state.grants.iter().find(|grant| grant.covers(scopes)) {
                return Ok(Some(grant.header.clone()));
            }
            state.bearer.clone()
        };
        let challenges = answer.challenges();
        let asked = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer(bearer) => Some(bearer.clone()),
            Challenge::Basic => None,
        });
        match asked.or(remembered) {
            Some(bearer) => {
                let header = self.fetch_token(host, &answer.action, &bearer, scopes).await?;
                self.state().bearer = Some(bearer);
                Ok(Some(header))
            }
            None if challenges.contains(&Challenge::Basic) => self.basic(host, &answer.action, scopes, used).await,
            None => Ok(None),
        }
    }

    async fn fetch_token(
        &self,
        host: &Host,
        action: &Action,
        bearer: &Bearer,
        scopes: &[Scope],
    ) -> Result<HeaderValue, RegistryError> {
        let (realm, takes_login) = host.policy.realm(&bearer.realm).map_err(|denied| action.denied(denied))?;
        let login = self.login(host, action).await?;
        if login.is_some() && !takes_login {
            let reason =
                "it is not the registry's own host: if the login may be sent there, list it under `token_realms`";
            let target = realm.origin().ascii_serialization();
            return Err(RegistryError::Address { action: Box::new(action.clone()), target, reason: reason.to_owned() });
        }
        let request = Request {
            action: Action { method: "GET", object: Object::Token, ..action.clone() },
            method: Method::GET,
            url: token_url(realm, bearer, scopes),
            headers: login.iter().map(|login| (AUTHORIZATION, basic_header(login))).collect(),
            body: None,
            scopes: Vec::new(),
            expected: &[200],
        };
        let token = read_token(host, &request).await?;
        let header = HeaderValue::from_str(&format!("Bearer {}", token.token().unwrap_or_default()))
            .map_err(|_| request.action.protocol("the token cannot be sent in a header"))?;
        self.keep(Grant::new(scopes, header.clone(), token.life()));
        Ok(header)
    }

    async fn basic(
        &self,
        host: &Host,
        action: &Action,
        scopes: &[Scope],
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let header = self.login(host, action).await?.map(|login| basic_header(&login));
        let header = header.filter(|header| Some(header) != used);
        if let Some(header) = &header {
            self.keep(Grant::new(scopes, header.clone(), BASIC_LIFE));
        }
        Ok(header)
    }

    async fn login(&self, host: &Host, action: &Action) -> Result<Option<Login>, RegistryError> {
        let found = self.credentials.login(&host.name, &action.repository).await;
        found.map_err(|source| RegistryError::Credentials {
            host: host.name.clone(),
            repository: action.repository.clone(),
            source,
        })
    }

    fn keep(&self, grant: Grant) {
        let mut state = self.state();
        state.grants.retain(|old| Instant::now() < old.expires && !grant.covers(&old.scopes));
        state.grants.push(grant);
    }
}

fn token_url(mut realm: Url, bearer: &Bearer, scopes: &[Scope]) -> Url {
    let mut query = realm.query_pairs_mut();
    if let Some(service) = &bearer.service {
        query.append_pair("service", service);
    }
    for scope in scopes {
        query.append_pair("scope", &scope.text());
    }
    drop(query);
    realm
}

fn basic_header(login: &Login) -> HeaderValue {
    let text = STANDARD.encode(format!("{}:{}", login.username, login.password.reveal()));
    let mut header = HeaderValue::from_str(&format!("Basic {text}")).expect("base64 is ASCII");
    header.set_sensitive(true);
    header
}

async fn read_token(host: &Host, request: &Request) -> Result<TokenAnswer, RegistryError> {
    let mut backoff = host.backoff();
    let body = loop {
        let attempt =
            async { host.exchange(request, None).await?.expect(request.expected).await?.body(MAX_TOKEN_BYTES).await };
        match attempt.await {
            Ok(body) => break body,
            Err(error) => backoff.wait(error).await?,
        }
    };
    // The parser's words would repeat the body.
    let token = serde_json::from_slice::<TokenAnswer>(&body).ok().filter(|answer| answer.token().is_some());
    token.ok_or_else(|| request.action.protocol("the token realm sent no token"))
}
