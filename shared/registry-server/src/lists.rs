//! Lists in pages: tags and the catalog. Spec: OCI distribution, "Listing Tags".

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::ApiError;
use crate::registry::{Query, Registry};

/// The tags of a repository, sorted.
pub(crate) fn tags(registry: &Registry, repository: &str, query: &Query) -> Result<Response, ApiError> {
    if !registry.content().knows(repository) {
        return Err(ApiError::NameUnknown(repository.to_owned()));
    }
    let page = Page::of(registry.content().tags(repository), query)?;
    let path = format!("/v2/{repository}/tags/list");
    Ok(page.answer(&path, json!({"name": repository, "tags": page.names})))
}

/// The repositories, sorted.
pub(crate) fn catalog(registry: &Registry, query: &Query) -> Result<Response, ApiError> {
    let page = Page::of(registry.content().repositories(), query)?;
    Ok(page.answer("/v2/_catalog", json!({"repositories": page.names})))
}

struct Page {
    names: Vec<String>,
    size: usize,
    more: bool,
}

impl Page {
    /// What comes after `last`, at most `n` of it.
    fn of(mut names: Vec<String>, query: &Query) -> Result<Self, ApiError> {
        let size = match query.get("n") {
            Some(n) => n.parse().map_err(|_| ApiError::PageInvalid)?,
            None => usize::MAX,
        };
        if let Some(last) = query.get("last") {
            names.retain(|name| name.as_str() > last);
        }
        let more = names.len() > size;
        names.truncate(size);
        Ok(Self { names, size, more })
    }

    fn answer(&self, path: &str, body: serde_json::Value) -> Response {
        match self.names.last().filter(|_| self.more) {
            Some(last) => {
                let link = format!("<{path}?n={}&last={last}>; rel=\"next\"", self.size);
                ([(header::LINK, link)], Json(body)).into_response()
            }
            None => Json(body).into_response(),
        }
    }
}
