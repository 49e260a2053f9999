//! The registry as a router: who may, which resource, which verb.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::auth::{self, Auth};
use crate::content::Content;
use crate::error::ApiError;
use crate::notice::{Listener, Notice};
use crate::target::{Target, is_repository};
use crate::{blobs, lists, manifests, referrers, uploads};

/// The largest manifest that is taken: 4 MiB, as everywhere. Spec: OCI distribution, "Pushing Manifests".
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// A registry: its content, who may use it, and whom it tells about changes. Clones are the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    content: Content,
    auth: Option<Arc<Auth>>,
    listener: Option<Listener>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Registry {
    /// An open registry over `content`.
    #[must_use]
    pub fn new(content: Content) -> Self {
        Self { content, ..Self::default() }
    }

    /// The same registry, asking for credentials.
    #[must_use]
    pub fn with_auth(self, auth: Auth) -> Self {
        Self { auth: Some(Arc::new(auth)), ..self }
    }

    /// The same registry, calling `listener` after each change of a manifest. It must not block.
    #[must_use]
    pub fn on_change(self, listener: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    /// What the registry holds.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// Gives the user another password. Tokens that were issued for the old one stay good.
    pub fn change_password(&self, password: &str) {
        if let Some(auth) = &self.auth {
            auth.change_password(password);
        }
    }

    /// Makes every token that was issued so far invalid.
    pub fn expire_tokens(&self) {
        if let Some(auth) = &self.auth {
            auth.expire_tokens();
        }
    }

    /// The routes: `/v2/...` and `/token`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/token", get(auth::answer_get).post(auth::answer_post))
            .route("/v2", any(dispatch))
            .route("/v2/", any(dispatch))
            .route("/v2/{*rest}", any(dispatch))
            .with_state(self.clone())
    }

    pub(crate) fn auth(&self) -> Option<&Auth> {
        self.auth.as_deref()
    }

    pub(crate) fn tell(&self, notice: Notice) {
        if let Some(listener) = &self.listener {
            listener(notice);
        }
    }

    fn admit(&self, parts: &Parts) -> Result<Admitted, ApiError> {
        let target = Target::parse(parts.uri.path()).ok_or(ApiError::Unsupported)?;
        if let Some(name) = target.repository().filter(|name| !is_repository(name)) {
            return Err(ApiError::NameInvalid(name.to_owned()));
        }
        let query = Query::of(&parts.uri);
        let operator = match &self.auth {
            Some(auth) => Some(auth.authorize(parts, &target, &query)?),
            None => None,
        };
        Ok(Admitted { target, query, operator })
    }

    async fn answer(&self, admitted: Admitted, parts: &Parts, body: Body) -> Result<Response, ApiError> {
        let Admitted { target, query, operator } = admitted;
        let headers = &parts.headers;
        match (parts.method.as_str(), &target) {
            ("GET" | "HEAD", Target::Base) => Ok(axum::Json(serde_json::json!({})).into_response()),
            ("GET", Target::Catalog) => lists::catalog(self, &query),
            ("GET", Target::Tags { repository }) => lists::tags(self, repository, &query),
            ("GET", Target::Referrers { repository, digest }) => referrers::list(self, repository, digest, &query),
            ("GET", Target::Blob { repository, digest }) => blobs::get(self, repository, digest, headers),
            ("HEAD", Target::Blob { repository, digest }) => blobs::head(self, repository, digest),
            ("DELETE", Target::Blob { repository, digest }) => blobs::delete(self, repository, digest),
            ("GET" | "HEAD", Target::Manifest { repository, key }) => {
                manifests::get(self, repository, key, parts.method == Method::GET)
            }
            ("PUT", Target::Manifest { repository, key }) => {
                manifests::put(self, repository, key, headers, body, operator).await
            }
            ("DELETE", Target::Manifest { repository, key }) => manifests::delete(self, repository, key, operator),
            ("POST", Target::Uploads { repository }) => uploads::start(self, repository, &query, body).await,
            ("GET", Target::Upload { repository, id }) => uploads::status(self, repository, id),
            ("PATCH", Target::Upload { repository, id }) => uploads::patch(self, repository, id, headers, body).await,
            ("PUT", Target::Upload { repository, id }) => {
                uploads::finish(self, repository, id, &query, headers, body).await
            }
            ("DELETE", Target::Upload { repository, id }) => uploads::cancel(self, repository, id),
            _ => Err(ApiError::Unsupported),
        }
    }
}

/// A request that may go on.
struct Admitted {
    target: Target,
    query: Query,
    operator: Option<String>,
}

async fn dispatch(State(registry): State<Registry>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match registry.admit(&parts) {
        Ok(admitted) => registry.answer(admitted, &parts, body).await,
        Err(refused) => {
            uploads::drain(body).await;
            Err(refused)
        }
    };
    let mut response = answer.unwrap_or_else(ApiError::into_response);
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

/// The query of a request, in order, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) const fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    fn of(uri: &Uri) -> Self {
        Self(axum::extract::Query::try_from_uri(uri).map_or_else(|_| Vec::new(), |query| query.0))
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
