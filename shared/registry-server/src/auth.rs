//! Who may use the registry: one user, by Basic credentials or by tokens from `/token`.
//! Spec: distribution, "Token Authentication Specification".

use std::sync::Mutex;
use std::time::Duration;

use accel_image::Digest;
use axum::Json;
use axum::extract::{Form, Query as UrlQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::content::lock;
use crate::error::ApiError;
use crate::grants::{Grants, Scope};
use crate::registry::{Query, Registry};
use crate::target::Target;

/// The one user of a registry, and how they prove it. `Debug` shows no password.
pub struct Auth {
    username: String,
    password: Mutex<Digest>,
    identity: Option<Digest>,
    scheme: Scheme,
    grants: Grants,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// User name and password with every request.
    Basic,
    /// A token, which `/token` gives for user name and password.
    Bearer {
        /// How long a token is good for.
        token_ttl: Duration,
    },
}

impl Auth {
    /// One user.
    #[must_use]
    pub fn new(username: &str, password: &str, scheme: Scheme) -> Self {
        let password = Mutex::new(Digest::of(password.as_bytes()));
        Self { username: username.to_owned(), password, identity: None, scheme, grants: Grants::default() }
    }

    /// The same user, who may also come to `/token` with this identity token.
    #[must_use]
    pub fn or_identity_token(mut self, token: &str) -> Self {
        self.identity = Some(Digest::of(token.as_bytes()));
        self
    }

    pub(crate) fn change_password(&self, password: &str) {
        *lock(&self.password) = Digest::of(password.as_bytes());
    }

    pub(crate) fn expire_tokens(&self) {
        self.grants.clear();
    }

    /// The user's name if the request may do what it asks for.
    pub(crate) fn authorize(&self, parts: &Parts, target: &Target, query: &Query) -> Result<String, ApiError> {
        let needed = Scope::needed(&parts.method, target, query);
        let (allowed, known) = match self.scheme {
            Scheme::Basic => (self.knows(&parts.headers), false),
            Scheme::Bearer { .. } => match bearer(&parts.headers) {
                Some(token) => self.grants.covers(token, &needed),
                None => (false, false),
            },
        };
        if allowed {
            return Ok(self.username.clone());
        }
        let error = known.then_some("insufficient_scope");
        Err(ApiError::Unauthorized { challenge: self.challenge(&parts.headers, &needed, error) })
    }

    fn challenge(&self, headers: &HeaderMap, needed: &[Scope], error: Option<&str>) -> String {
        if self.scheme == Scheme::Basic {
            return "Basic realm=\"registry\"".to_owned();
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let mut challenge = format!("Bearer realm=\"http://{host}/token\",service=\"registry\"");
        if !needed.is_empty() {
            let scopes: Vec<String> = needed.iter().map(Scope::to_string).collect();
            challenge.push_str(&format!(",scope=\"{}\"", scopes.join(" ")));
        }
        if let Some(error) = error {
            challenge.push_str(&format!(",error=\"{error}\""));
        }
        challenge
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        basic(headers).is_some_and(|(username, password)| self.is_user(&username, &password))
    }

    /// Compares hashes: the time it takes tells nothing about the password.
    fn is_user(&self, username: &str, password: &str) -> bool {
        username == self.username && Digest::of(password.as_bytes()) == *lock(&self.password)
    }

    fn is_identity(&self, token: &str) -> bool {
        self.identity.as_ref() == Some(&Digest::of(token.as_bytes()))
    }

    fn issue(&self, scopes: &[&str], ttl: Duration) -> Response {
        let token = self.grants.issue(scopes, ttl);
        Json(json!({"token": token, "access_token": token, "expires_in": ttl.as_secs()})).into_response()
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

type Pairs = Vec<(String, String)>;

/// `GET /token`: without credentials a token comes all the same, and opens nothing, as at Docker Hub.
pub(crate) async fn answer_get(
    State(registry): State<Registry>,
    UrlQuery(pairs): UrlQuery<Pairs>,
    headers: HeaderMap,
) -> Response {
    let Some((auth, ttl)) = bearer_auth(&registry) else { return StatusCode::NOT_FOUND.into_response() };
    let query = Query::new(pairs);
    let scopes: Vec<&str> = query.all("scope").flat_map(str::split_whitespace).collect();
    match basic(&headers) {
        Some((username, password)) if auth.is_user(&username, &password) => auth.issue(&scopes, ttl),
        Some(_) => refused(),
        None => Json(json!({"token": Grants::worthless(), "expires_in": ttl.as_secs()})).into_response(),
    }
}

/// `POST /token`: the OAuth2 form, with a password or an identity token.
/// Spec: distribution, "OAuth2 Token Authentication".
pub(crate) async fn answer_post(State(registry): State<Registry>, Form(pairs): Form<Pairs>) -> Response {
    let Some((auth, ttl)) = bearer_auth(&registry) else { return StatusCode::NOT_FOUND.into_response() };
    let form = Query::new(pairs);
    let scopes: Vec<&str> = form.all("scope").flat_map(str::split_whitespace).collect();
    let text = |name| form.get(name).unwrap_or_default();
    let known = match text("grant_type") {
        "password" => auth.is_user(text("username"), text("password")),
        "refresh_token" => auth.is_identity(text("refresh_token")),
        _ => false,
    };
    if known { auth.issue(&scopes, ttl) } else { refused() }
}

fn bearer_auth(registry: &Registry) -> Option<(&Auth, Duration)> {
    let auth = registry.auth()?;
    match auth.scheme {
        Scheme::Basic => None,
        Scheme::Bearer { token_ttl } => Some((auth, token_ttl)),
    }
}

fn refused() -> Response {
    ApiError::Unauthorized { challenge: "Basic realm=\"registry\"".to_owned() }.into_response()
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = STANDARD.decode(authorization(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(username, password)| (username.to_owned(), password.to_owned()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    authorization(headers, "bearer")
}

/// What follows `scheme`, whose case does not matter.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (named, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}
