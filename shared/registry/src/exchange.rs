//! Questions to a token realm: GET with name and password or with nothing, POST with an identity token.
//! Spec: distribution, "Token Authentication" and "OAuth2 Token Authentication".

use accel_domain::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::challenge::Bearer;
use crate::error::{Action, Object, RegistryError};
use crate::token::{Scope, TokenAnswer};
use crate::transport::{Host, Request};

/// A token endpoint's answer is not larger than this.
const MAX_TOKEN_BYTES: u64 = 256 << 10;
/// What we call ourselves to a realm that wants to know which program asks.
const CLIENT_ID: &str = "accel";

/// What a realm is asked for.
pub(crate) struct Question<'a> {
    /// What the token is for, for messages.
    pub(crate) action: &'a Action,
    /// Where to ask. The policy has allowed it.
    pub(crate) realm: &'a Url,
    pub(crate) bearer: &'a Bearer,
    pub(crate) scopes: &'a [Scope],
}

impl Question<'_> {
    /// Asks with a Basic header, or without one for what everybody may do.
    pub(crate) async fn ask(&self, host: &Host, basic: Option<HeaderValue>) -> Result<TokenAnswer, RegistryError> {
        let headers = basic.into_iter().map(|basic| (AUTHORIZATION, basic)).collect();
        read(host, &Request { url: self.url(), ..self.request("GET", Method::GET, headers) }).await
    }

    /// Exchanges an identity token. It stands in the body: nothing on the way logs it as a part of the address.
    pub(crate) async fn redeem(&self, host: &Host, identity: &Secret) -> Result<TokenAnswer, RegistryError> {
        let kind = (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = Some(self.form(identity).into());
        read(host, &Request { body, ..self.request("POST", Method::POST, vec![kind]) }).await
    }

    fn url(&self) -> Url {
        let mut url = self.realm.clone();
        let mut query = url.query_pairs_mut();
        if let Some(service) = &self.bearer.service {
            query.append_pair("service", service);
        }
        for scope in self.scopes {
            query.append_pair("scope", &scope.text());
        }
        drop(query);
        url
    }

    fn form(&self, identity: &Secret) -> String {
        let scopes: Vec<String> = self.scopes.iter().map(Scope::text).collect();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        if let Some(service) = &self.bearer.service {
            form.append_pair("service", service);
        }
        form.append_pair("scope", &scopes.join(" "));
        form.append_pair("client_id", CLIENT_ID);
        form.append_pair("refresh_token", identity.expose());
        form.finish()
    }

    fn request(&self, name: &'static str, method: Method, headers: Vec<(HeaderName, HeaderValue)>) -> Request {
        Request {
            action: Action { method: name, object: Object::Token, ..self.action.clone() },
            method,
            url: self.realm.clone(),
            headers,
            body: None,
            scopes: Vec::new(),
            expected: &[200],
        }
    }
}

/// Asks once. Whoever needs the token asks again, as after any error of the request that it is for.
async fn read(host: &Host, request: &Request) -> Result<TokenAnswer, RegistryError> {
    let mut answer = host.exchange(request, None).await?.expect(request.expected).await?;
    let body = answer.body(MAX_TOKEN_BYTES).await?;
    // The parser's words would repeat the body.
    let token = serde_json::from_slice::<TokenAnswer>(&body).ok().filter(|answer| answer.token().is_some());
    token.ok_or_else(|| request.action.protocol("the token realm sent no token"))
}

/// The header that shows name and password.
pub(crate) fn basic_header(username: &str, password: &Secret) -> HeaderValue {
    let text = STANDARD.encode(format!("{username}:{}", password.expose()));
    let mut header = HeaderValue::from_str(&format!("Basic {text}")).expect("base64 is ASCII");
    header.set_sensitive(true);
    header
}

/// The header that shows a token; `None` if the token has characters that no header can hold.
pub(crate) fn bearer_header(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
