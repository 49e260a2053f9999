//! Authentication: challenges answered, tokens fetched, kept and renewed, identity tokens exchanged. Logins go to the registry's own host and to
//! its listed token realms only. Spec: distribution, "Token Authentication"; Harbor's ways are noted where they matter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use accel_domain::Secret;
use reqwest::header::HeaderValue;

use crate::answer::Answer;
use crate::challenge::{Bearer, Challenge};
use crate::error::{Action, RegistryError};
use crate::exchange::{Question, basic_header, bearer_header};
use crate::token::{Grant, Scope, TokenAnswer};
use crate::transport::Host;
use crate::{CredentialError, Credentials, Login};

/// A login that is shown as it is gets looked up again after this long, so that a rotation is seen.
const LOGIN_LIFE: Duration = Duration::from_secs(300);

/// What one host has granted so far.
pub(crate) struct Auth {
    credentials: Arc<dyn Credentials>,
    state: Mutex<State>,
    /// Held while an identity token is exchanged: a realm may take each one only once.
    redeeming: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    grants: Vec<Grant>,
    /// The last Bearer challenge. Harbor answers a token that has expired with a Basic challenge only.
    bearer: Option<Bearer>,
    /// Identity tokens that a realm has given in exchange for others.
    successors: Vec<Successor>,
}

/// What takes the place of an identity token at one realm, as long as the login says the same.
struct Successor {
    realm: String,
    of: Secret,
    identity: Secret,
}

impl Successor {
    fn is_for(&self, realm: &str, of: &Secret) -> bool {
        self.realm == realm && self.of.expose() == of.expose()
    }
}

impl Auth {
    pub(crate) fn new(credentials: Arc<dyn Credentials>) -> Self {
        Self { credentials, state: Mutex::default(), redeeming: tokio::sync::Mutex::default() }
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
            Some(bearer) => {
                self.obtain(host, action, scopes, Offer { bearer: Some(&bearer), basic: false }, None).await
            }
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
        let bearer = asked.or(remembered);
        let offer = Offer { bearer: bearer.as_ref(), basic: challenges.contains(&Challenge::Basic) };
        let header = self.obtain(host, &answer.action, scopes, offer, used).await?;
        if bearer.is_some() {
            self.state().bearer = bearer;
        }
        Ok(header)
    }

    /// Something else than `used` to show, if the login and what the registry takes have something in common.
    async fn obtain(
        &self,
        host: &Host,
        action: &Action,
        scopes: &[Scope],
        offer: Offer<'_>,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let unusable = |reason: &str| Err(login_error(host, action, CredentialError::Unusable(reason.to_owned())));
        let header = match (self.login(host, action).await?, offer.bearer) {
            (Some(Login::Token(token)), _) => match bearer_header(token.expose()) {
                Some(header) => header,
                None => return unusable("the token cannot be sent in a header"),
            },
            (login, Some(bearer)) => return self.fetch_token(host, action, scopes, bearer, login).await.map(Some),
            (Some(Login::Password { username, password }), None) if offer.basic => basic_header(&username, &password),
            (Some(Login::Identity(_)), None) if offer.basic => {
                return unusable("it is an identity token, and the registry takes names and passwords only");
            }
            (_, None) => return Ok(None),
        };
        if Some(&header) == used {
            return Ok(None);
        }
        self.keep(Grant::new(scopes, header.clone(), LOGIN_LIFE));
        Ok(Some(header))
    }

    async fn fetch_token(
        &self,
        host: &Host,
        action: &Action,
        scopes: &[Scope],
        bearer: &Bearer,
        login: Option<Login>,
    ) -> Result<HeaderValue, RegistryError> {
        let (realm, takes_login) = host.policy.realm(&bearer.realm).map_err(|denied| action.denied(denied))?;
        if login.is_some() && !takes_login {
            let reason =
                "it is not the registry's own host: if the login may be sent there, list it under `token_realms`";
            let target = realm.origin().ascii_serialization();
            return Err(RegistryError::Address { action: Box::new(action.clone()), target, reason: reason.to_owned() });
        }
        let question = Question { action, realm: &realm, bearer, scopes };
        let answer = match login {
            Some(Login::Identity(identity)) => self.redeem(host, &question, &identity).await?,
            Some(Login::Password { username, password }) => {
                question.ask(host, Some(basic_header(&username, &password))).await?
            }
            Some(Login::Token(_)) | None => question.ask(host, None).await?,
        };
        let header = bearer_header(answer.token().unwrap_or_default())
            .ok_or_else(|| action.protocol("the token cannot be sent in a header"))?;
        self.keep(Grant::new(scopes, header.clone(), answer.life()));
        Ok(header)
    }

    /// Exchanges the identity token of the login, or what the realm has given in its place.
    async fn redeem(&self, host: &Host, question: &Question<'_>, of: &Secret) -> Result<TokenAnswer, RegistryError> {
        let realm = question.realm.as_str();
        let _alone = self.redeeming.lock().await;
        let shown = self.state().identity(realm, of);
        let answer = question.redeem(host, &shown).await?;
        if let Some(identity) = answer.identity() {
            self.state().succeed(realm, of, identity);
        }
        Ok(answer)
    }

    async fn login(&self, host: &Host, action: &Action) -> Result<Option<Login>, RegistryError> {
        let found = self.credentials.login(&host.name, &action.repository).await;
        found.map_err(|source| login_error(host, action, source))
    }

    /// Whether the login, which was refused, may be another one now.
    pub(crate) async fn has_another_login(&self, host: &Host, action: &Action) -> bool {
        self.credentials.renew(&host.name, &action.repository).await
    }

    fn keep(&self, grant: Grant) {
        let mut state = self.state();
        state.grants.retain(|old| Instant::now() < old.expires && !grant.covers(&old.scopes));
        state.grants.push(grant);
    }
}

/// What a registry takes.
#[derive(Clone, Copy)]
struct Offer<'a> {
    /// Tokens of this realm.
    bearer: Option<&'a Bearer>,
    /// Name and password.
    basic: bool,
}

impl State {
    /// What to show at `realm` where the login says `of`.
    fn identity(&self, realm: &str, of: &Secret) -> Secret {
        let successor = self.successors.iter().find(|successor| successor.is_for(realm, of));
        successor.map_or(of, |successor| &successor.identity).clone()
    }

    fn succeed(&mut self, realm: &str, of: &Secret, identity: Secret) {
        self.successors.retain(|successor| !successor.is_for(realm, of));
        self.successors.push(Successor { realm: realm.to_owned(), of: of.clone(), identity });
    }
}

fn login_error(host: &Host, action: &Action, source: CredentialError) -> RegistryError {
    RegistryError::Credentials { host: host.name.clone(), repository: action.repository.clone(), source }
}
